"""Whatever a public function is given by accident, it works or raises InputError in one line."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

import onelayer
from made import make_data
from onelayer.arguments import check_type, checked
from onelayer.errors import InputError
from onelayer.training.hyperparameters import OPTIONS

SQUARE = np.arange(12.0).reshape(6, 2)
WRONG = (
    None, "x", "\0", "\ud800", b"x", "", -1, 1.5, float("nan"), float("inf"), 10**400, True,
    object(), [], [None], ["x"], [[1], [2, 3]], {}, {"a": 1}, (1,), iter([]), int, np.array(3.0),
    np.array("a"), np.zeros((0, 2)), SQUARE[0], SQUARE[None, None], SQUARE[:, :1], SQUARE.tolist(),
    SQUARE.astype(complex), SQUARE.astype("M8[s]"), SQUARE.astype(object), np.array([[object()]]),
    np.zeros(3, "V8"), np.full((6, 2), np.nan), np.ma.masked_array(SQUARE, SQUARE > 3),
    sparse.csr_matrix(SQUARE),
)  # fmt: skip


def squares(W, b):
    return np.sum(W**2) + np.sum(b)


def slopes(W, b):
    return 2 * W, np.ones_like(b)


def textbook_slopes(X, Y, P, W, lam):
    G = P - Y
    return G @ X.T / X.shape[1] + 2 * lam * W, G.mean(axis=1, keepdims=True)


def given(function, **values):
    """Return the function with `values` for its arguments, and its own defaults for the others."""
    parameters = inspect.signature(function).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is not each.VAR_KEYWORD}
    return function, defaults | values


def public(folder: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return everything public with arguments that are right."""
    data, settings = make_data(6, 2, 3), onelayer.grid(l2=[0, 0.1])
    run = onelayer.train(data, settings, epochs=1)
    model = onelayer.model_of(run)
    run.save(folder)
    model.save(folder / "model.safetensors")
    X, small = data.train.X, {"epochs": 0, "settings": settings}
    split = {name: getattr(data.train, name) for name in ("X", "y")}
    methods = {
        f"{type(owner).__name__}.{name}": (getattr(owner, name), arguments)
        for owner, name, arguments in (
            (model, "scores", {"X": X}),
            (model, "predict", {"X": X}),
            (model, "probabilities", {"X": X}),
            (model, "save", {"path": folder / "saved.safetensors"}),
            (run, "scores", {"X": X}),
            (run, "final", {"name": "train_loss"}),
            (run, "save", {"folder": folder / "saved"}),
        )
    }
    check = onelayer.check_gradient(squares, slopes, SQUARE, [0.0])
    found = onelayer.diagnose(gradient=textbook_slopes)
    records = {
        type(record).__name__: (
            type(record),
            {each.name: getattr(record, each.name) for each in fields(record)},
        )
        for record in (data, model, run, check, found)
    }
    return methods | records | {
        "Split": (onelayer.Split, split),
        "C_from_l2": (onelayer.C_from_l2, {"l2": 0.1, "n_samples": 9, "n_classes": 3}),
        "l2_from_C": (onelayer.l2_from_C, {"C": 0.1, "n_samples": 9, "n_classes": 3}),
        "l2_from_alpha": given(onelayer.l2_from_alpha, alpha=0.1, n_classes=3),
        "check_gradient": given(
            onelayer.check_gradient, cost=squares, gradient=slopes, W=SQUARE, b=np.zeros(6)
        ),
        "dataset_from": given(onelayer.dataset_from, data=SQUARE, labels=[0, 1, 2] * 2),
        "Hyperparameters": given(onelayer.Hyperparameters),
        "grid": (onelayer.grid, {name: [each.default] for name, each in OPTIONS.items()}),
        "load_dataset": given(onelayer.load_dataset, name=folder / "nothing.csv"),
        "load_model": given(onelayer.load_model, path=folder / "model.safetensors"),
        "load_probes": given(onelayer.load_probes, folder=folder),
        "load_protocol": given(onelayer.load_protocol, name="clip"),
        "load_run": given(onelayer.load_run, folder=folder),
        "model_of": given(onelayer.model_of, run=run),
        "train": given(onelayer.train, data=data, **small),
        "ranks": given(onelayer.ranks),
        "probe": given(onelayer.probe, feature_sets={"a": data}, **small),
        "diagnose": given(onelayer.diagnose, gradient=textbook_slopes),
        "assert_gradient": given(onelayer.assert_gradient, gradient=textbook_slopes),
        "plan_resume": given(onelayer.plan_resume, folder=folder),
        "resume": given(onelayer.resume, folder=folder),
        "verify": given(onelayer.verify, folder=folder),
    }  # fmt: skip


def outcome(function, arguments):
    """Return "" for a value or an InputError of one line, else what was raised instead."""
    try:
        with np.errstate(all="ignore"):
            function(**arguments)
    except InputError as error:
        return "" if "\n" not in str(error) and len(str(error)) < 600 else f"long: {error}"
    except OSError:  # such as a folder where a file has that name
        return ""
    except Exception as error:
        return repr(error)
    return ""


def test_wrong_arguments_of_all_that_is_public_are_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    every = public(tmp_path)
    estimators = {"OneLayerClassifier", "OneLayerSearchCV"}  # these follow scikit-learn's checks
    assert {*onelayer.__all__} - {*every} == estimators | {"InputError"}
    broken = {
        f"{name}({parameter}={wrong!r:.40})": came
        for name, (function, right) in every.items()
        for parameter in right
        for wrong in WRONG
        if (came := outcome(function, right | {parameter: wrong}))
    }
    # A function of the user's raises what it likes.
    own = ("on_epoch", "on_stack", "cost", "gradient")
    assert {k: v for k, v in broken.items() if k.split("(")[1].split("=")[0] not in own} == {}


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (int, [1, np.int64(1), -3], [True, 1.0, "1", None, 2**63]),
        (float, [1, 0.5, np.float32(1), float("nan")], [True, "0.5", None, 1j, 10**400]),
        (bool, [True, np.bool_(False)], [1, "yes", None]),
        (str | Path, ["a", Path("a"), "猫"], ["\0", "\ud800", 1, None]),
        (int | None, [None, 1], ["", 0.5]),
        (Literal["a", "b"], ["a"], ["c", 1, None, SQUARE]),
        (Sequence[float], [[1, 2.0], (1,), [], SQUARE[0]], [SQUARE, "ab", 1, ["a"], {1: 2}]),
        (tuple[int, int], [(1, 2), [1, 2]], [(1, 2, 3), {1, 2}, (1, "2")]),
        (tuple[str, ...], [(), ("a", "b")], ["ab", ("a", 1)]),
        (Mapping[str, int], [{"a": 1}, {}], [{"a": "b"}, [("a", 1)]]),
        (ArrayLike, [SQUARE, [1, 2], 3.0], ["a", [[1], [2, 3]], SQUARE.astype(complex), None]),
        (NDArray[Any], [SQUARE], [[1, 2], 3.0, SQUARE.astype(str), sparse.csr_matrix(SQUARE)]),
        (Any, [None, 1, object()], []),
    ],
    ids=[
        "int",
        "float",
        "bool",
        "path",
        "optional",
        "choice",
        "sequence",
        "pair",
        "texts",
        "mapping",
        "array-like",
        "array",
        "any",
    ],
)
def test_a_value_is_held_to_the_declared_type(hint, right, wrong):
    for value in right:
        check_type("it", value, hint)
    for value in wrong:
        with pytest.raises(InputError):
            check_type("it", value, hint)


def test_the_message_says_what_was_found_and_what_would_be_right():
    @checked
    def function(number: float, *, run: onelayer.Run | None = None, method: Literal["ab"] = "ab"):
        return number

    assert function(2) == 2
    for arguments, words in (
        ({"number": "2"}, "number is '2'; expected a number"),
        ({"number": 1, "run": 3}, "run is 3; expected a Run or None"),
        ({"number": SQUARE}, "number is an array of float64, shape (6, 2); expected a number"),
        ({"number": 1, "method": "abc"}, "unknown method 'abc'; did you mean 'ab'?"),
    ):
        with pytest.raises(InputError) as told:
            function(**arguments)
        assert str(told.value) == words
    with pytest.raises(TypeError, match="unexpected keyword"):
        function(1, nothing=2)
