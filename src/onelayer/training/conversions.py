"""λ of equation (5) and the strengths of the same penalty in scikit-learn: docs/sklearn.md.

For two classes scikit-learn has one row of coefficients, w = w₁ − w₀. At the minimum of the cost
w₁ = −w₀ = w / 2, so λ Σ W² is λ/2 w² there; with more classes W is the same in both libraries.
"""

import math

from onelayer.arguments import checked
from onelayer.errors import InputError


@checked
def l2_from_C(C: float, n_samples: int, n_classes: int) -> float:
    """Return λ for the C of LogisticRegression, which minimises C Σ l + ½ Σ W².

    Raises
    ------
    InputError
        If C is not above 0, there is no sample or fewer than two classes.

    Examples
    --------
    >>> onelayer.l2_from_C(C=1.0, n_samples=100, n_classes=10)
    0.005
    """
    if not C > 0:
        raise InputError(f"C is {C}; expected a number above 0")
    return _l2_of_half(1 / (C * _at_least("n_samples", n_samples, 1)), n_classes)


@checked
def C_from_l2(l2: float, n_samples: int, n_classes: int) -> float:
    """Return the C of LogisticRegression for λ; infinity if λ is 0.

    Raises
    ------
    InputError
        If λ is below 0, there is no sample or fewer than two classes.

    Examples
    --------
    >>> onelayer.C_from_l2(l2=0.005, n_samples=100, n_classes=10)
    1.0
    """
    if not l2 >= 0:
        raise InputError(f"l2 is {l2}; expected a number from 0 up")
    # λ and the factor of ½ Σ W² are proportional.
    strength = l2 / _l2_of_half(1, n_classes) * _at_least("n_samples", n_samples, 1)
    return 1 / strength if strength else math.inf


@checked
def l2_from_alpha(alpha: float, n_classes: int, batch_size: int = 1) -> float:
    """Return λ for the α of ½ α Σ W² / batch_size beside the mean loss.

    For MLPClassifier `batch_size` is its batch size, for SGDClassifier it is 1.

    Raises
    ------
    InputError
        If α is below 0, the batch is empty or there are fewer than two classes.

    Examples
    --------
    >>> onelayer.l2_from_alpha(alpha=0.5, n_classes=10)
    0.25
    """
    if not alpha >= 0:
        raise InputError(f"alpha is {alpha}; expected a number from 0 up")
    return _l2_of_half(alpha / _at_least("batch_size", batch_size, 1), n_classes)


def _l2_of_half(factor: float, n_classes: int) -> float:
    """Return λ for ½ · factor · Σ W² of scikit-learn's coefficients beside the mean loss."""
    return factor if _at_least("n_classes", n_classes, 2) == 2 else factor / 2


def _at_least(name: str, value: int, least: int) -> int:
    if not value >= least:
        raise InputError(f"{name} is {value}; expected {least} or more")
    return value
