import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onelayer.data.fetching import archive
from onelayer.data.fetching.archive import unpack
from onelayer.errors import InputError

NAMES = {"wanted", "other"}


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def write(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def everything_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_only_expected_regular_files_are_taken_and_lie_flat(tmp_path):
    packed = write(
        tmp_path / "a.tar.gz",
        member("folder/wanted", b"yes"),
        member("folder/stranger", b"no"),
        member("../../other", b"from outside"),
        member("/etc/passwd", b"no"),
    )
    unpack(packed, tmp_path / "out", NAMES, largest=100)
    assert everything_under(tmp_path) == ["a.tar.gz", "out", "out/other", "out/wanted"]
    assert (tmp_path / "out/wanted").read_bytes() == b"yes"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
def test_links_devices_and_folders_of_a_wanted_name_are_not_made(kind, tmp_path):
    packed = write(tmp_path / "a.tar.gz", member("wanted", type=kind, linkname="/etc/passwd"))
    unpack(packed, tmp_path / "out", NAMES, largest=100)
    assert everything_under(tmp_path / "out") == []


def test_a_link_cannot_redirect_a_later_file(tmp_path):
    packed = write(
        tmp_path / "a.tar.gz",
        member("wanted", type=tarfile.SYMTYPE, linkname=str(tmp_path / "victim")),
        member("wanted", b"content"),
    )
    unpack(packed, tmp_path / "out", NAMES, largest=100)
    assert not (tmp_path / "victim").exists()
    assert (tmp_path / "out/wanted").read_bytes() == b"content"


def test_a_member_that_is_too_large_is_refused_before_it_is_written(tmp_path):
    packed = write(tmp_path / "a.tar.gz", member("wanted", bytes(101)))
    with pytest.raises(InputError, match=r"a\.tar\.gz: wanted has 101 bytes, expected at most 100"):
        unpack(packed, tmp_path / "out", NAMES, largest=100)
    assert everything_under(tmp_path / "out") == []


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST_CONTENT", 3_000_000)
    packed = write(tmp_path / "a.tar.gz", member("stranger", bytes(5_000_000)))
    with pytest.raises(InputError, match="unpacks to more than 3,000,000 bytes"):
        unpack(packed, tmp_path / "out", NAMES, largest=100)


def test_a_name_that_comes_twice_is_refused(tmp_path):
    packed = write(tmp_path / "a.tar.gz", member("a/wanted", b"1"), member("b/wanted", b"2"))
    with pytest.raises(InputError, match="holds wanted twice"):
        unpack(packed, tmp_path / "out", NAMES, largest=100)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        gzip.compress(b"no archive"),
        gzip.compress(b"L" * 5000),
        b"\x1f\x8b\x08" + bytes(20),
    ],
)
def test_something_else_is_refused_by_name(content, tmp_path):
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tgz: no \.tar\.gz, or damaged"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", NAMES, largest=100)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.tgz: no such file"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", NAMES, largest=100)


def test_a_chain_of_long_names_ends_in_an_error(tmp_path):
    long = member("././@LongLink", b"x", type=tarfile.GNUTYPE_LONGNAME)[0].tobuf() + b"x".ljust(512)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(long * 5000))
    with pytest.raises(InputError, match="damaged"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", NAMES, largest=100)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 1023), value=st.integers(0, 255))
def test_a_damaged_header_gives_files_or_one_clear_error(tmp_path_factory, place, value):
    folder = tmp_path_factory.mktemp("damaged")
    info, content = member("wanted", b"x" * 512, pax_headers={"comment": "y"})
    raw = bytearray(info.tobuf(tarfile.PAX_FORMAT) + content + bytes(1024))
    raw[place] = value
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + sum(raw[156:512]) + 8 * 32)  # a valid checksum
    (folder / "a.tgz").write_bytes(gzip.compress(raw))
    try:
        unpack(folder / "a.tgz", folder / "out", NAMES, largest=10_000)
    except InputError as error:
        assert "a.tgz: " in str(error)  # noqa: PT017
    assert set(everything_under(folder)) <= {"a.tgz", "out", "out/wanted", "out/other"}
