"""Which wrong gradients do usual checks catch, and which does the doctor name? `make doctor`."""

from collections.abc import Callable

import numpy as np

from onelayer.model import network
from onelayer.model.doctor.diagnosis import judge
from onelayer.model.doctor.points import Point, draw_point
from onelayer.model.doctor.questions import ask
from onelayer.report.blocks import Column, Table
from onelayer.report.terminal import show_table
from submissions import ALONE, GRADIENTS, OWN

TOLERANCE = 1e-4  # of a relative error, as courses have it
DRAWS = 20  # of ten entries
Function = Callable[..., tuple[np.ndarray, np.ndarray]]


def gradient_of(text: str) -> Function:
    """Return the gradient that a submission defines, called as the course does."""
    namespace: dict[str, Function] = {}
    exec(text, namespace)
    return namespace["ComputeGradients"]


def errors_at(gradient: Function, point: Point) -> np.ndarray:
    """Return the relative errors of all partial derivatives; infinity where there is no answer."""
    right = network.gradients(point.X, point.y, point.W, point.b, point.l2)
    try:
        with np.errstate(all="ignore"):
            dW, db = gradient(
                point.X.T, point.Y.T, point.W.copy(), point.b[:, None].copy(), point.l2
            )
        found = [np.asarray(dW).reshape(right[0].shape), np.asarray(db).reshape(right[1].shape)]
        if dW.shape != point.W.shape:
            raise ValueError
    except Exception:
        return np.full(1, np.inf)
    pairs = [(a.ravel(), r.ravel()) for a, r in zip(found, right, strict=True)]
    a, r = (np.concatenate(each) for each in zip(*pairs, strict=True))
    with np.errstate(invalid="ignore"):
        errors = np.abs(a - r) / np.maximum(1e-5, np.abs(a) + np.abs(r))
    return np.where(np.isnan(errors), np.inf, errors)


def small_point(N: int, l2: float, bias: float) -> Point:
    """Return a point as courses check at: few images in [0, 1], small weights."""
    point = draw_point((N, 13, 5), l2)
    generator = np.random.default_rng(0)
    W = 0.01 * generator.standard_normal(point.W.shape)
    return Point(generator.random(point.X.shape), point.y, W, bias * point.b, l2)


def usual_checks(gradient: Function) -> dict[str, float]:
    """Return by check the share of draws in which it catches the mistake."""
    everything = errors_at(gradient, small_point(20, 0.1, 0.0))
    generator = np.random.default_rng(1)
    tens = [generator.choice(everything, min(10, everything.size), False) for _ in range(DRAWS)]
    return {
        "one image, λ = 0": float(errors_at(gradient, small_point(1, 0.0, 0.0)).max() > TOLERANCE),
        "three images, λ = b = 0": float(
            errors_at(gradient, small_point(3, 0.0, 0.0)).max() > TOLERANCE
        ),
        "ten entries": float(np.mean([ten.max() > TOLERANCE for ten in tens])),
        "one summed error": float(everything.mean() > 1e-2),
    }


def main() -> None:
    """Print a row for each wrong gradient, and the sums."""
    planted = [wrong for wrong in (*GRADIENTS, *OWN) if wrong.source == ALONE]
    checks = [usual_checks(gradient_of(wrong.text)) for wrong in planted]
    found = []
    for wrong in planted:
        diagnosis = judge([ask("gradient", "ComputeGradients", gradient_of(wrong.text))])
        found.append([finding.code for finding in diagnosis.findings])
    named = [wrong.code in codes for wrong, codes in zip(planted, found, strict=True)]
    usual = [
        Column(name, "number", [each[name] for each in checks] + [sum(c[name] for c in checks)], 3)
        for name in checks[0]
    ]
    show_table(
        Table(
            "doctor",
            "Wrong gradients: caught by usual checks (share of draws), caught and named here.",
            (
                Column("slip", "words", [each.name for each in planted] + ["all"]),
                *usual,
                Column(
                    "caught here", "count", [*(bool(each) for each in found), sum(map(bool, found))]
                ),
                Column(
                    "named",
                    "words",
                    [", ".join(dict.fromkeys(c)) for c in found] + [f"{sum(named)}"],
                ),
            ),
        )
    )
    listed = sum(named[: len(GRADIENTS)])
    print(f"\nnamed: {listed} of the {len(GRADIENTS)} first, {sum(named)} of all")


if __name__ == "__main__":
    main()
