import json
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from cifar_versions import WRITERS, write_binary, write_png
from onelayer.data.formats import cifar
from onelayer.errors import InputError

N = 20
VERSIONS = {version.name: version for version in cifar.VERSIONS}


@pytest.mark.parametrize("name", WRITERS)
def test_every_version_reads_back_to_the_same_records(name, small_cifar, tmp_path):
    WRITERS[name](tmp_path, small_cifar)
    version, where = cifar.find_version(tmp_path)
    assert (version.name, where) == (name, tmp_path)
    for part, records in small_cifar.items():
        read = version.read(tmp_path, part, N)
        assert read.dtype == np.uint8
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, records)


@pytest.mark.parametrize("name", WRITERS)
def test_a_label_out_of_range_is_named_by_its_row(name, small_cifar, tmp_path):
    small_cifar["test_batch"][7, 0] = 11
    WRITERS[name](tmp_path, small_cifar)
    with pytest.raises(InputError, match=r"(record|label) 7 ") as caught:
        VERSIONS[name].read(tmp_path, "test_batch", N)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", WRITERS)
def test_the_wrong_number_of_records_is_refused(name, small_cifar, tmp_path):
    WRITERS[name](tmp_path, small_cifar)
    with pytest.raises(InputError, match=str(tmp_path)):
        VERSIONS[name].read(tmp_path, "test_batch", N + 1)


def test_a_binary_file_of_the_wrong_size_tells_found_and_expected(small_cifar, tmp_path):
    write_binary(tmp_path, small_cifar)
    (tmp_path / "test_batch.bin").write_bytes(bytes(N * 3073 - 1))
    with pytest.raises(InputError, match=r"holds 61,459 bytes, expected 61,460 \(20 records"):
        cifar.read_binary(tmp_path, "test_batch", N)


@pytest.mark.parametrize("name", WRITERS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 2000), flip=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_file_gives_records_or_one_clear_error(
    name, small_cifar, tmp_path, place, flip, cut
):
    WRITERS[name](tmp_path, {**small_cifar})
    path = tmp_path / VERSIONS[name].files("test_batch")[0]
    content = bytearray(path.read_bytes())
    place = place if place < 1000 else -(place - 999)  # the beginning and the end hold structure
    content[place] ^= flip
    path.write_bytes(content[: place % len(content)] if cut else content)
    try:
        told = VERSIONS[name].read(tmp_path, "test_batch", N).shape == (N, 3073)
    except InputError as error:
        told = str(path) in str(error)
    assert told


def test_a_folder_that_lacks_a_file_names_it(small_cifar, tmp_path):
    write_binary(tmp_path, small_cifar)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(InputError, match=r"the binary version in .* lacks data_batch_3\.bin"):
        cifar.find_version(tmp_path)


def test_a_folder_with_something_else_is_told_what_was_expected(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no CIFAR-10; expected data_batch_1\.bin \(binary"):
        cifar.find_version(tmp_path)


def test_a_version_is_found_one_folder_down(small_cifar, tmp_path):
    inner = tmp_path / "cifar-10-batches-bin"
    inner.mkdir()
    write_binary(inner, small_cifar)
    assert cifar.find_version(tmp_path)[1] == inner


def test_a_huge_picture_is_refused_by_its_header_without_a_warning(small_cifar, tmp_path):
    write_png(tmp_path, small_cifar)
    path = tmp_path / "test_batch.png"
    content = bytearray(path.read_bytes())
    content[16:24] = (20_000).to_bytes(4) * 2  # over Pillow's limit, where it only warns
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught, pytest.raises(InputError, match="PNG"):
        cifar.read_png(tmp_path, "test_batch", N)
    assert not caught


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_a_picture_of_another_mode_is_refused(mode, small_cifar, tmp_path):
    write_png(tmp_path, small_cifar)
    Image.new(mode, (1024, N)).save(tmp_path / "test_batch.png")
    with pytest.raises(InputError, match=f"{mode} picture of 1024 × 20, expected RGB"):
        cifar.read_png(tmp_path, "test_batch", N)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "{}", "[1, 2]", json.dumps([True] * N), "[1e99]"]
)
def test_labels_that_are_no_list_of_numbers_are_refused(text, small_cifar, tmp_path):
    write_png(tmp_path, small_cifar)
    (tmp_path / "test_lables.json").write_text(text)
    with pytest.raises(InputError, match=r"test_lables\.json"):
        cifar.read_png(tmp_path, "test_batch", N)


@pytest.mark.parametrize(
    "variables",
    [
        {"data": np.zeros((N, 3072), np.uint8)},
        {"data": np.zeros((2, 3)), "labels": np.zeros((N, 1), np.uint8)},
        {"data": np.zeros((3072, N), np.uint8), "labels": np.zeros((N, 1), np.uint8)},
        {"data": np.array([["cell", 1]], object), "labels": np.zeros((N, 1), np.uint8)},
    ],
)
def test_a_matlab_file_with_other_variables_is_refused(variables, tmp_path):
    savemat(tmp_path / "test_batch.mat", variables)
    with pytest.raises(InputError, match=r"test_batch\.mat: .* expected '(data|labels)', 20 × "):
        cifar.read_matlab(tmp_path, "test_batch", N)


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_variables_that_are_not_needed_are_passed_over(compressed, small_cifar, tmp_path):
    records = small_cifar["test_batch"]
    variables = {
        "batch_label": "some text",
        "cell": np.array([["a", 1.5]], object),
        "structure": {"field": np.arange(3)},
        "b": np.ones((1, 1), np.uint8),
        "data": records[:, 1:],
        "labels": records[:, :1],
    }
    savemat(tmp_path / "test_batch.mat", variables, do_compression=compressed)
    np.testing.assert_array_equal(cifar.read_matlab(tmp_path, "test_batch", N), records)


def test_a_matlab_variable_that_inflates_without_end_takes_no_memory(tmp_path):
    bomb = zlib.compress(bytes(100_000_000))
    header = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    tag = (15).to_bytes(4, "little") + len(bomb).to_bytes(4, "little")
    (tmp_path / "test_batch.mat").write_bytes(header + tag + bomb)
    tracemalloc.start()
    with pytest.raises(InputError, match="expected 'data'"):
        cifar.read_matlab(tmp_path, "test_batch", N)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_pipe_is_not_waited_for(tmp_path):
    os = pytest.importorskip("os")
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "test_batch.bin")
    with pytest.raises(InputError, match="no such file"):
        cifar.read_binary(tmp_path, "test_batch", N)
