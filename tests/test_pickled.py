import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cifar_versions import array, batch, label_list, number, pickled_batch, short_string
from onelayer.data.formats.pickled import read_batch
from onelayer.errors import InputError

N = 3


@pytest.fixture
def records() -> np.ndarray:
    records = np.random.default_rng(1).integers(0, 256, (N, 3073), dtype=np.uint8)
    records[:, 0] %= 10
    return records


@pytest.fixture
def read(tmp_path: Path):
    def read(content: bytes):
        path = tmp_path / "batch"
        path.write_bytes(content)
        return read_batch(path, N, 3072)

    return read


PIXELS = bytes(N * 3072)
LABELS = label_list([1, 2, 3])


@pytest.mark.parametrize("fortran", [False, True])
def test_pixels_and_labels_are_read_in_either_order_of_memory(read, records, fortran):
    pixels, labels = read(pickled_batch(records, fortran))
    np.testing.assert_array_equal(pixels, records[:, 1:])
    assert labels == records[:, 0].tolist()


def test_a_global_is_refused_by_name_and_never_called(read, tmp_path):
    canary = tmp_path / "canary"
    call = b"cos\nsystem\n" + short_string(f"touch {canary}") + b"\x85R"
    for content in (b"\x80\x02" + call + b".", batch(array(PIXELS, (N, 3072)), call)):
        with pytest.raises(InputError, match=r"batch: byte \d+: refuses the global 'os system'"):
            read(content)
    assert not canary.exists()


@pytest.mark.parametrize(
    "name", ["builtins eval", "numpy ndarray.tofile", "numpy.core.multiarray scalar", "numpy load"]
)
def test_only_three_globals_are_known(read, name):
    with pytest.raises(InputError, match=f"refuses the global '{name}'"):
        read(b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n.")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (b"(ios\nsystem\n", "INST"),
        (b"(cnumpy\ndtype\no", "OBJ"),
        (b"cnumpy\ndtype\n)\x81", "NEWOBJ"),
        (b"P0\n", "PERSID"),
        (b"\x82\x01", "EXT1"),
        (b"\x8e" + (1 << 40).to_bytes(8, "little"), None),  # 1 TiB of bytes
        (b"\x8a\xffa", None),
        (b"I" + b"9" * 5000 + b"\n", None),
        (b"G" + bytes(8), "BINFLOAT"),
        (b"\x95" + bytes(8), "FRAME"),
    ],
)
def test_opcodes_that_no_batch_uses_are_refused(read, code, name):
    with pytest.raises(InputError, match=f"refuses the opcode {name}" if name else "cut short"):
        read(b"\x80\x02" + code + b".")


@pytest.mark.parametrize("place", [0, 1, 2, 5, 30, 70, 100, 150, 180, 200, 5000, -40, -20, -2, -1])
def test_a_file_cut_short_names_the_file_and_the_byte(read, records, place):
    with pytest.raises(InputError, match=r"batch: byte \d+: "):
        read(pickled_batch(records)[:place])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (array(PIXELS, (N, 3071)), "expected an array of 3 × 3,072"),
        (array(PIXELS, (N * 3072,)), "expected an array of 3 × 3,072"),
        (array(PIXELS[1:], (N, 3072)), "expected 9,216 bytes"),
        (array(PIXELS + b"x", (N, 3072)), "expected 9,216 bytes"),
        (array(PIXELS, (N, 3072)).replace(b"u1", b"O8"), "refuses to make anything but"),
        (array(PIXELS, (N, 3072)).replace(b"\nndarray", b"\ndtype"), "refuses to make"),
        (b"N", "no array"),
        (b"]", "no array"),
        (b"}K\x01b", "refuses to build anything but"),
        (b"]" + short_string("x") + b"K\x02s", "expected a dict"),
        (b"}()K\x02u", "expected pairs of a string"),
        (b"h\x63", "nothing was stored under 99"),
        (b"t", "no array|no mark|pairs"),
    ],
)
def test_an_array_of_another_kind_is_refused(read, data, problem):
    with pytest.raises(InputError, match=f"batch: byte \\d+: .*({problem})"):
        read(batch(data, LABELS))


@pytest.mark.parametrize(
    "labels", [label_list([1, 2]), label_list([1, 2, 3, 4]), b"](K\x01K\x02Ne", b"N", b"](III)"]
)
def test_labels_that_are_no_list_of_n_numbers_are_refused(read, labels):
    with pytest.raises(InputError, match="batch: byte"):
        read(batch(array(PIXELS, (N, 3072)), labels))


def test_tuples_doubled_through_the_memo_cost_nothing(read):
    double = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))
    bomb = b")q\x00" + double  # 2^60 leaves
    for content in (
        batch(bomb, LABELS),
        b"\x80\x02}" + bomb + b"K\x01s.",  # as a key it would have to be hashed
        batch(b"cnumpy\ndtype\n" + bomb + b"R", LABELS),
        batch(array(PIXELS, (N, 3072)) + bomb + b"b", LABELS),
    ):
        with pytest.raises(InputError, match="batch: byte"):
            read(content)


def test_deep_nesting_and_endless_opcodes_end_in_an_error(read):
    for content in (b"]" * 10_000, b"(" * 10_000, b"]" + b"\x85" * 60_000, b"N" * 60_000):
        with pytest.raises(InputError, match=r"more than 1,030 opcodes"):
            read(b"\x80\x02" + content + b".")


def test_a_declared_length_allocates_nothing(read):
    tracemalloc.start()
    with pytest.raises(InputError, match="cut short"):
        read(b"\x80\x02T" + (2**31 - 1).to_bytes(4, "little") + b"few.")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "batch"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(InputError, match=r"holds 1,099,511,627,776 bytes, expected at most"):
        read_batch(path, N, 3072)


def test_other_protocols_are_refused(read):
    with pytest.raises(InputError, match="byte 0: pickle protocol 4, expected 2"):
        read(b"\x80\x04N.")


def test_numbers_of_every_width_are_whole(read):
    content = batch(
        array(PIXELS, (N, 3072)), b"](" + b"".join(map(number, [1, 300, 70_000])) + b"e"
    )
    assert read(content)[1] == [1, 300, 70_000]
