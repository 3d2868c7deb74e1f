"""Any dataclass comes back from its file as it was, and nothing else is taken for it."""

import json
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from onelayer import records
from onelayer.errors import InputError
from onelayer.records import COUNT, FINITE, SHARE, Kind, Within, check_arrays
from stored_records import change_record, read_record


@dataclass(frozen=True)
class Velocity:
    of: Literal["W", "b"]
    values: Annotated[NDArray[np.float32], "(M, K)"]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint would be: arrays, plain values, and both of them deeper down."""

    epoch: int
    rate: float
    done: bool
    weights: Annotated[NDArray[np.float64], "(M, K)"]
    velocities: tuple[Velocity, ...]
    names: Annotated[tuple[str, ...], "(K,)"]
    shape: tuple[int, int] | None
    best: NDArray[np.intp] | None
    counts: Mapping[str, dict[str, float]]
    anything: Mapping[str, Any]
    added_later: str = "default"
    passing: NDArray[Any] | None = field(default=None, metadata={"stored": False})

    def __post_init__(self) -> None:
        check_arrays(self, *self.velocities)


CHECKPOINT = Kind("checkpoint", Checkpoint, format=3)


def make_checkpoint(**changes):
    values = {
        "epoch": 3, "rate": 0.1, "done": False, "weights": np.arange(6.0).reshape(2, 3),
        "velocities": (Velocity("W", np.ones((2, 3), np.float32)),), "names": ("a", "ä", "b\n"),
        "shape": (1, 2), "best": np.array([1, 0]), "counts": {"x": {"0.1": 2.5}},
        "anything": {"list": [1, None, {"deep": "x"}]},
    }  # fmt: skip
    return Checkpoint(**values | changes)


def assert_equal(one, other):
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    elif hasattr(one, "__dataclass_fields__"):
        for name in one.__dataclass_fields__:
            assert_equal(getattr(one, name), getattr(other, name))
    else:
        assert one == other


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shape": None, "best": None, "velocities": ()},
        {"weights": np.zeros((2, 3), order="F")},
        {"weights": np.zeros((0, 3)), "velocities": ()},
        {"rate": float("nan"), "weights": np.full((2, 3), np.nan), "names": ("", " ", "\u2028")},
        {"epoch": -(2**62), "done": True, "anything": {}, "counts": {}},
    ],
    ids=["full", "without", "by columns", "no models", "odd values", "extremes"],
)
def test_a_record_comes_back_as_it_was(changes, tmp_path):
    before = make_checkpoint(**changes)
    CHECKPOINT.save(before, tmp_path / "new" / "a.safetensors")
    after = CHECKPOINT.load(tmp_path / "new" / "a.safetensors")
    if before.rate == before.rate:
        assert_equal(after, before)
    else:
        assert np.isnan(after.rate)
        assert_equal((after.weights, after.names), (before.weights, before.names))


def test_a_field_that_is_not_stored_comes_back_as_its_default(tmp_path):
    path = tmp_path / "a.safetensors"
    CHECKPOINT.save(make_checkpoint(passing=np.zeros(3, np.longdouble)), path)
    assert_equal(CHECKPOINT.load(path), make_checkpoint())


def test_values_of_numpy_are_stored_as_plain_ones(tmp_path):
    found = make_checkpoint(epoch=np.int64(4), rate=np.float64(0.5), done=np.bool_(True))
    CHECKPOINT.save(found, tmp_path / "a.safetensors")
    back = CHECKPOINT.load(tmp_path / "a.safetensors")
    assert (back.epoch, back.rate, back.done) == (4, 0.5, True)
    assert type(back.done) is bool


def test_equal_records_are_equal_bytes_in_any_byte_order(tmp_path):
    weights = make_checkpoint().weights
    for name, dtype in (("a", "<f8"), ("b", ">f8")):
        kind = Kind("array", NDArray[Any], format=1)
        kind.save(weights.astype(dtype), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_record_without_arrays_is_plain_json(tmp_path):
    kind = Kind("names", tuple[str, ...], format=1)
    kind.save(("ä", "b"), tmp_path / "a.json", run_id="r")
    text = (tmp_path / "a.json").read_text("utf-8")
    assert json.loads(text) == {"kind": "names", "format": 1, "run": "r", "record": ["ä", "b"]}
    assert "ä" in text
    assert kind.load(tmp_path / "a.json", "r") == ("ä", "b")
    with pytest.raises(InputError, match="another run"):
        kind.load(tmp_path / "a.json", "s")


def test_fields_that_are_stored_elsewhere_are_given_back(tmp_path):
    kind = Kind("checkpoint", Checkpoint, format=1, apart=("weights", "anything"))
    before = make_checkpoint()
    kind.save(before, tmp_path / "a.safetensors")
    assert "weights" not in read_record(tmp_path / "a.safetensors")["record"]
    back = kind.load(tmp_path / "a.safetensors", weights=before.weights, anything=before.anything)
    assert_equal(back, before)


def test_an_old_format_climbs_step_by_step_to_the_present(tmp_path):
    @dataclass(frozen=True)
    class Now:
        total: int
        values: NDArray[np.float64]

    def count(header, arrays):
        return {"n": len(arrays["old"])}, {"values": arrays["old"]}

    old, path = {"onelayer": json.dumps({"format": 1})}, tmp_path / "a.safetensors"
    save_file({"old": np.ones(4)}, path, old)
    kind = Kind("sums", Now, 3, upgrades={1: count, 2: lambda r, a: ({"total": r["n"]}, a)})
    assert kind.load(path).total == 4
    with pytest.raises(InputError, match="its format is 1, expected 3"):
        Kind("sums", Now, 3, upgrades={2: count}).load(path)
    with pytest.raises(InputError, match="reads up to 0; a later one"):
        Kind("sums", Now, 0).load(path)


def test_a_field_that_came_later_takes_its_default(tmp_path):
    CHECKPOINT.save(make_checkpoint(added_later="given"), tmp_path / "a.safetensors")
    change_record(
        tmp_path / "a.safetensors",
        lambda record: {name: v for name, v in record.items() if name != "added_later"},
    )
    assert CHECKPOINT.load(tmp_path / "a.safetensors").added_later == "default"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("epoch", True, "epoch: found True, expected int"),
        ("epoch", 3.0, "epoch: found 3.0, expected int"),
        ("epoch", 10**30, "epoch: found 1000"),
        ("rate", "0.1", "rate: found '0.1', expected float"),
        ("rate", 10**400, "rate: found 1000"),
        ("done", 1, "done: found 1, expected bool"),
        ("names", ["a", "b", 3], "names.2: found 3, expected str"),
        ("names", "abc", "names: found 'abc'"),
        ("names", ["a", "b"], "names of the shape (2,), expected (3)"),
        ("shape", [1, 2, 3], "shape: found [1, 2, 3]"),
        ("velocities", [{"of": "c"}], "velocities.0.of: found 'c'"),
        ("velocities", [{"of": "W"}, {"of": "b"}], "velocities.1.values: missing"),
        ("velocities", [[]], "velocities.0: found []"),
        ("counts", {"x": {"0.1": None}}, "counts.x.0.1: found None, expected float"),
        ("strange", 1, "strange: not expected"),
    ],
    ids=lambda value: None if isinstance(value, int | list | dict) else str(value)[:20],
)
def test_a_value_of_another_type_is_refused_with_its_place(tmp_path, key, value, words):
    path = tmp_path / "a.safetensors"
    CHECKPOINT.save(make_checkpoint(), path)
    change_record(path, lambda record: record | {key: value})
    with pytest.raises(InputError) as told:
        CHECKPOINT.load(path)
    assert str(told.value).startswith(f"{path}: holds no checkpoint that can be read: ")
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": np.zeros((2, 3), np.float32)}, "weights of float32, expected float64"),
        ({"weights": np.zeros(6)}, "weights of the shape (6,), expected (6, K)"),
        ({"velocities.0.values": np.zeros((3, 2), np.float32)}, "values of the shape (3, 2)"),
        ({"more": np.zeros(1)}, "array 'more': not expected"),
        ({"weights": None}, "weights: missing"),
    ],
    ids=["type", "axes", "shape", "more", "missing"],
)
def test_an_array_that_cannot_be_is_refused(tmp_path, change, words):
    path = tmp_path / "a.safetensors"
    CHECKPOINT.save(make_checkpoint(), path)
    change_record(
        path,
        arrays=lambda found: {k: a for k, a in (found | change).items() if a is not None},
    )
    with pytest.raises(InputError) as told:
        CHECKPOINT.load(path)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"[" * 200_000, "brackets too deep"),
        ("a.json", b"\xff", "byte 0 is not UTF-8 text"),
        ("a.json", b" " * ((1 << 25) + 1), "33,554,433 bytes, expected at most 33,554,432"),
        ("a.json", b"[" * 40 + b"]" * 40, "brackets too deep, expected at most 32"),
        ("a.json", b'{"a": 1, "a": 2}', "'a' is given twice"),
        ("a.json", b'["\\ud800"]', "holds half of a character"),
        (
            "a.json",
            b'["' + b"x" * 10_001 + b'"]',
            "a text of 10,001 letters, expected at most 10,000",
        ),
        ("a.json", b"9" * 5000, "a number of 5,000 digits"),
        ("a.json", b"{} {}", "not JSON: Extra data: line 1 column 4"),
        (
            "a",
            struct.pack("<Q", 1 << 40) + b"{}",
            "a header of 1,099,511,627,776 bytes in a file of 10",
        ),
        ("a", struct.pack("<Q", 1 << 20) + b"{}", "a header of 1,048,576 bytes"),
        ("a", b"", "holds no checkpoint that can be read"),
    ],
    ids=[
        "deep",
        "no text",
        "long",
        "nested",
        "twice",
        "surrogate",
        "long text",
        "digits",
        "more",
        "huge header",
        "long header",
        "empty",
    ],
)
def test_hostile_files_are_refused_unread(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as told:
        CHECKPOINT.load(tmp_path / name)
    assert words in str(told.value)


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LONGEST", 100)
    with pytest.raises(InputError, match="too many settings or names"):
        CHECKPOINT.save(make_checkpoint(), tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_bytes_are_a_record_or_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    CHECKPOINT.save(make_checkpoint(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    said = f"{path}: "
    try:
        found = CHECKPOINT.load(path)
        assert found.weights.shape == (len(found.weights), len(found.names))
    except InputError as error:
        said = str(error)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (Annotated[float, SHARE], float("nan"), "it: found nan, expected 0 to 1"),
        (Annotated[float, SHARE] | None, 1.1, "it: found 1.1, expected 0 to 1"),
        (Annotated[int, COUNT], -1, "it: found -1, expected 0 or more"),
        (Annotated[float, FINITE], float("inf"), "it: found inf, expected a finite number"),
        (dict[str, Annotated[int, Within(1)]], {"a": 0}, "it.a: found 0, expected 1 or more"),
        (Annotated[NDArray[np.float64], "(N,)", SHARE], np.array([np.nan, 2]), "it: found 2, exp"),
    ],
    ids=["share", "optional", "count", "finite", "inside", "array"],
)
def test_a_number_out_of_its_range_is_refused(tmp_path, hint, value, words):
    kind = Kind("sample", make_dataclass("Sample", [("it", hint)], frozen=True), format=1)
    kind.save(kind.type(value), tmp_path / "a")
    with pytest.raises(InputError, match=re.escape(words)):
        kind.load(tmp_path / "a")


def test_what_is_not_known_is_in_the_range_of_an_array(tmp_path):
    kind = Kind("shares", Annotated[NDArray[np.float64], SHARE], format=1)
    kind.save(np.array([np.nan, 0, 1]), tmp_path / "a")
    np.testing.assert_array_equal(kind.load(tmp_path / "a"), [np.nan, 0, 1])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("name", ["a.json", "a"])
def test_what_is_no_file_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="not a file; expected checkpoint stored by onelayer"):
        CHECKPOINT.load(tmp_path / name)
    with pytest.raises(InputError, match="no such file; expected checkpoint stored by onelayer"):
        CHECKPOINT.load(tmp_path / f"other-{name}")


def test_letters_mean_the_same_number_in_all_that_is_checked():
    W, b = Velocity("W", np.ones((2, 3), np.float32)), Velocity("b", np.ones((2, 4), np.float32))
    check_arrays(W, W)
    with pytest.raises(InputError, match=r"values of the shape \(2, 4\), expected \(2, 3\)"):
        check_arrays(W, b)
    with pytest.raises(InputError, match=r"values of the shape \(2, 3\), expected \(2, 4\)"):
        check_arrays(W, K=4)


def test_a_name_of_bytes_that_are_no_text_comes_back(tmp_path):
    checkpoint = make_checkpoint(names=("caf\udce9", "λ", "c"))
    CHECKPOINT.save(checkpoint, tmp_path / "a.safetensors")
    assert CHECKPOINT.load(tmp_path / "a.safetensors").names == checkpoint.names
