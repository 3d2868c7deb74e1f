"""Engine check: one step of the engine that trains, against a numerical derivative.

The tests compare every engine with the functions of model/. This check tests the engine, the loss
and the precision of the current run, on its own data: after one step at the rate η, (W − W') / η is
the gradient of equation (5), so it must equal the numerical one up to rounding.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.dataset import Split
from onelayer.data.scaling import Scaling
from onelayer.model import network
from onelayer.model.derivatives import LinearLayer
from onelayer.model.gradient_check import draw_place, gradient_known_to
from onelayer.model.losses import Loss, find_loss
from onelayer.records import COUNT, Within
from onelayer.training.engine import MakeEngine, OnDevice
from onelayer.training.hyperparameters import LARGEST, Hyperparameters

Array = NDArray[Any]
_DEVIATIONS = 6  # bound on a sum of rounding errors: larger in 1 case of 10⁹
_TELLING = 0.05


@dataclass(frozen=True)
class EngineCheck:
    """A step of an engine against the numerical gradient of the cost with weight decay `l2`.

    `error_W` and `error_b` are the largest differences of an entry, as shares of the largest entry
    of the numerical gradient. The tolerances are bounds on rounding in `dtype`: see docs/maths.md.
    """

    engine: str
    dtype: str
    loss: str
    l2: Annotated[float, COUNT]
    images: Annotated[int, Within(1)]
    error_W: float
    error_b: float
    tolerance_W: float
    tolerance_b: float

    @property
    def passed(self) -> bool:
        """Whether rounding explains the difference of every entry; it never explains NaN."""
        return self.error_W <= self.tolerance_W and self.error_b <= self.tolerance_b

    @property
    def telling(self) -> bool:
        """Whether rounding is small enough for the check to see a wrong gradient."""
        return max(self.tolerance_W, self.tolerance_b) <= _TELLING

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        doubt = "" if self.telling else "; rounding is too large here to tell much"
        return (
            f"one step of {self.engine} in {self.dtype} with {self.loss} {verdict}: it differs "
            f"from the numerical gradient by {self.error_W:.1e} (W) and {self.error_b:.1e} (b) of "
            f"the largest entry, rounding may reach {self.tolerance_W:.1e} and "
            f"{self.tolerance_b:.1e}{doubt}"
        )


def check_engine(
    make_engine: MakeEngine,
    split: Split,
    n_classes: int,
    scaling: Scaling,
    *,
    loss: str,
    dtype: str,
    images: int = 100,
    seed: int = 0,
) -> EngineCheck:
    """Step an engine once on the first `images` rows and compare it with the numerical gradient.

    W and b are drawn from the seed (see draw_place). λ is such that the weight decay is as large as
    the rest of the gradient. There is no momentum and no sample weight.
    """
    kind, batch = find_loss(loss), split.head(images)
    X, y = scaling.apply(batch.X), batch.y
    # Numbers of the engine's precision, so that it starts from exactly these W and b.
    W, b = (p.astype(dtype).astype(np.float64) for p in draw_place(X, n_classes, seed))
    slope = np.linalg.norm(network.gradients(X, y, W, b, 0, kind)[0])
    l2 = min(float(slope / np.linalg.norm(W) / 2), LARGEST)
    layer = LinearLayer(X, y, W, b, l2, kind)
    gradients, doubts = gradient_known_to(layer)
    largest = [float(np.abs(g).max()) or 1.0 for g in gradients]
    # A stack of two models: one takes a step that is as long as its W, the other one as its b, so
    # that little of either step is lost when it is rounded.
    rates = [float(np.abs(p).max()) / g for p, g in zip((W, b), largest, strict=True)]
    engine = make_engine(
        np.stack([W, W]).astype(dtype),
        np.stack([b, b]).astype(dtype),
        settings=[Hyperparameters(l2=l2, loss=loss)] * 2,
        scaling=scaling,
    )
    engine.step(engine.open(split), slice(0, len(y)), np.array(rates))
    stepped_W, stepped_b = engine.parameters()
    steps = (W - stepped_W[0]) / rates[0], (b - stepped_b[1]) / rates[1]
    exact = scaling.precision(batch.X.dtype, np.dtype(dtype))
    coarse = make_engine.rounding if isinstance(make_engine, OnDevice) else 0.0
    bounds = _bounds(layer, scaling, dtype, exact, rates, coarse)
    errors, tolerances = [], []
    for step, gradient, doubt, bound, size in zip(
        steps, gradients, doubts, bounds, largest, strict=True
    ):
        errors.append(float(np.abs(step - gradient).max()) / size)
        tolerances.append(float((bound + doubt).max()) / size)
    if isinstance(make_engine, OnDevice) and coarse:
        dtype = f"{dtype} with products in {make_engine.precision}"
    return EngineCheck(type(engine).__name__, dtype, loss, l2, len(y), *errors, *tolerances)


def _bounds(
    layer: LinearLayer,
    scaling: Scaling,
    dtype: str,
    exact: np.dtype[Any],
    rates: list[float],
    coarse: float,
) -> tuple[Array, Array]:
    """Return bounds on the rounding of each entry of (W − W') / η and of (b − b') / η.

    `coarse` is the unit of rounding of the factors of the products, if it is not that of the type.
    """
    u = float(np.finfo(dtype).eps) / 2
    X, y, W, b = layer.X, layer.y, layer.W, layer.b
    B, D = X.shape
    # The size of the numbers whose difference is x, if the shift was rounded.
    rounded = scaling.shift != scaling.shift.astype(exact)
    size = np.abs(X) + np.abs(scaling.shift * scaling.factor) * rounded
    # Scores: D + 1 additions, each wrong by u times a partial sum of independent terms.
    S = network.scores(X, W, b)
    terms = np.sqrt(size**2 @ (W**2).T) + np.abs(b)
    G = layer.loss.slopes(S, y)
    reach = _DEVIATIONS * (4 * u * math.sqrt(D + 1) + coarse)
    wrong_G = _moved_slopes(layer.loss, S, y, reach * terms)
    wrong_G += 16 * u * (1 + np.abs(G))  # exponentials and divisions of the slopes themselves
    # Gradient: B additions of g x, where x is rounded, too; then the step itself.
    wrong_G += (_DEVIATIONS * math.sqrt(B) * u + coarse) * np.abs(G)
    wrong_X = (8 * u + coarse) * size
    decay = 1 - 2 * rates[0] * layer.l2
    dW, db = network.gradients(X, y, W, b, layer.l2, layer.loss)
    update_W = u * (2 * abs(decay) * np.abs(W) + np.abs(W - rates[0] * dW)) / rates[0]
    update_b = u * (np.abs(b) + np.abs(b - rates[1] * db)) / rates[1]
    wrong_W = (wrong_G.T @ np.abs(X) + np.abs(G).T @ wrong_X) / B
    return wrong_W + update_W, wrong_G.sum(axis=0) / B + update_b


def _moved_slopes(loss: Loss, S: Array, y: NDArray[np.intp], reach: Array) -> Array:
    """Return the change of the slopes (N, K) if the scores change by `reach` (N, K), by class.

    If a margin of the hinge is nearer to 0 than that, its slope may be either one.
    """
    G, moved = loss.slopes(S, y), np.zeros(S.shape)
    for k in range(S.shape[1]):
        change = np.zeros(S.shape)
        change[:, k] = reach[:, k]
        both = [np.abs(loss.slopes(S + sign * change, y) - G) for sign in (1, -1)]
        moved += np.maximum(*both)
    return moved
