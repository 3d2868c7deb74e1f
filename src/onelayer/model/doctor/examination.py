"""The doctor for functions in this process: `diagnose` and `assert_gradient`."""

import inspect
from collections.abc import Callable
from typing import Any

from onelayer.arguments import checked
from onelayer.errors import InputError, unknown_name
from onelayer.methods_as_functions import functions_of
from onelayer.model.doctor.diagnosis import Diagnosis, judge
from onelayer.model.doctor.questions import ask_all
from onelayer.model.doctor.roles import ROLES
from onelayer.model.losses import find_loss

Function = Callable[..., Any]


@checked
def diagnose(
    cost: Function | None = None,
    gradient: Function | None = None,
    *,
    loss: str | None = None,
    half: bool | None = None,
    **others: Function,
) -> Diagnosis:
    """Return the mistakes in your own functions, with any conventions.

    The functions are called at designed points, with arrays in the layouts of their parameters: X
    as D×N or N×D, W as K×D or D×K, labels or one-hot, arrays, dicts or layers, NumPy or PyTorch.
    `others` are further functions by role: numerical, probabilities, forward, softmax, accuracy,
    descent, normalisation, pictures. `loss` is by default the cross-entropy, or the hinge if a name
    says so. With `half` the penalty is ½λ Σ W²; a cost with this penalty has the same effect.

    The functions run in this process: for code that is not yours, use `onelayer doctor`.

    Raises
    ------
    InputError
        If there is no function, or a role or loss is unknown.

    Examples
    --------
    >>> def gradient(X, Y, P, W, lam):  # X (D, N), Y and P (K, N)
    ...     G = P - Y
    ...     return G @ X.T / X.shape[1] + lam * W, G.mean(axis=1, keepdims=True)
    >>> print(onelayer.diagnose(gradient=gradient))  # doctest: +ELLIPSIS
    G40 gradient: dW: factor 2 of λ missing. ... Found λW; right is 2λW.
    """
    given = {"cost": cost, "gradient": gradient, **others}
    for role in others:
        if role not in ROLES:
            raise unknown_name("role of a function", role, ROLES)
    functions = {
        role: [(getattr(function, "__name__", role), _of_class(function))]
        for role, function in given.items()
        if function is not None
    }
    if not functions:
        raise InputError("no function was given; name one, as diagnose(gradient=my_gradient)")
    if loss is not None:
        find_loss(loss)
    return judge(ask_all(functions, loss or ""), half)


def _of_class(function: Function) -> Function:
    """Return a method of an object as a function of W and b, too; others as they are."""
    if not inspect.ismethod(function) or inspect.isclass(function.__self__):
        return function
    cls = type(function.__self__)
    return functions_of(cls).get(f"{cls.__name__}.{function.__name__}", function)


def assert_gradient(
    gradient: Function, cost: Function | None = None, *, loss: str | None = None
) -> None:
    """Fail with the diagnosis if a gradient, or the cost beside it, is wrong: for pytest.

    Raises
    ------
    AssertionError
        If there is a fault; its message names it.
    InputError
        As diagnose.

    Examples
    --------
    >>> def gradient(X, Y, P, W, lam):
    ...     G = P - Y
    ...     return G @ X.T / X.shape[1] + 2 * lam * W, G.mean(axis=1, keepdims=True)
    >>> onelayer.assert_gradient(gradient)
    """
    found = diagnose(cost, gradient, loss=loss)
    if not found.passed:
        raise AssertionError(str(found))
