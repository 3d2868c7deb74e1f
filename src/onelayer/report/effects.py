"""Effects of λ and η, and events of the training: tables over the settings of one run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.results import Results
from onelayer.evaluation.weight_images import smoothness
from onelayer.report.blocks import Block, Column, Paragraph, Table, make_table
from onelayer.report.choice import list_settings
from onelayer.report.labels import count_of, listing
from onelayer.training.hyperparameters import OPTIONS
from onelayer.training.run import Run

_VARIED = ("learning_rate", "l2")  # the option that is larger in a pair of settings
ROWS = 40  # models that ended early, in their table
PAIRS = 24  # rows of the table of effects
LISTED = 12  # settings whose numbers are listed in a sentence


def tell_rises(results: Results) -> Table | Paragraph | None:
    """Return the number of rises of the training loss, and the largest rise, of each setting."""
    history = results.run.history
    if len(history.measured) < 3:
        return None
    if not any(results.run.stopped) and not (np.diff(history.train_loss) > 0).any():
        return Paragraph(
            "The training loss of no setting rose from one measured epoch to the next."
        )
    models, note = list_settings(results)
    rises = [_rises(history.train_loss[model], history.measured) for model in models]
    return make_table(
        "rises",
        "Rises of the training loss from one measured epoch to the next, after the first; the "
        "largest, its epochs and its losses. first: the loss before and after the first measured "
        f"epoch, if it rose.{note}",
        Column("setting", "words", [results.run.labels[model] for model in models]),
        Column("rises", "part", [found["rises"] for found in rises]),
        Column("largest", "decimals", [found.get("largest") for found in rises]),
        Column("epochs", "change", [found.get("epochs") for found in rises]),
        Column("loss", "change", [found.get("loss") for found in rises]),
        Column("first", "change", [found.get("first") for found in rises]),
    )


def _rises(loss: NDArray[np.float64], epochs: NDArray[np.intp]) -> dict[str, Any]:
    rises = np.diff(loss[1:])
    count, known = _count_rises(loss), int(np.isfinite(rises).sum())
    found: dict[str, Any] = {"rises": (count, known)}
    if count:
        at = int(np.nanargmax(rises)) + 1
        around = slice(at, at + 2)
        found |= {"largest": rises[at - 1], "epochs": tuple(epochs[around].tolist())}
        found |= {"loss": tuple(loss[around].tolist())}
    return found | ({"first": tuple(loss[:2].tolist())} if loss[1] > loss[0] else {})


def endings_table(results: Results) -> Table | None:
    """Return the models that diverged, in the main run or in repeats, or ended early."""
    run, R, rows = results.run, len(results.repeats), []
    stopped = Counter(
        setting
        for repeat in results.repeats
        for setting, place in dict(zip(repeat.settings, repeat.stopped, strict=True)).items()
        if place
    )
    for model, (name, setting) in enumerate(zip(run.labels, run.settings, strict=True)):
        diverged = stopped[setting]
        what = f"diverged in {run.stopped[model]}" if run.stopped[model] else run.ended[model]
        if what or diverged:
            rows.append((name, what or None, (diverged, R) if diverged else None, run.kept[model]))
    if not rows:
        return None
    left_out = f" {len(rows) - ROWS} more are left out." if len(rows) > ROWS else ""
    settings, ends, repeats, kept = zip(*rows[:ROWS], strict=True)
    return make_table(
        "endings",
        f"{count_of(len(rows), 'setting')} of {len(run.settings)} diverged or ended before the "
        "last epoch. A model whose scores or cost are no longer finite has diverged: its curves "
        f"end there, and it is neither evaluated nor compared.{left_out}",
        Column("setting", "words", settings),
        Column("main run", "words", ends),
        Column("diverged in repeats", "part", repeats),
        Column("parameters of epoch", "count", kept),
    )


def effect_blocks(results: Results) -> Iterator[Block]:
    """Yield the effects of a larger η and a larger λ, in settings that differ in nothing else."""
    pairs = {name: list(_neighbours(results, name)) for name in _VARIED}
    if not any(pairs.values()):
        return
    yield Paragraph(" ".join(_count(results, name, pairs[name]) for name in pairs if pairs[name]))
    steps = [(name, *pair) for name, found in pairs.items() for pair in found]
    left_out = f" {len(steps) - PAIRS} more are left out." if len(steps) > PAIRS else ""
    run, accuracy = results.run, results.test_accuracies
    low, high = (np.array([step[end] for step in steps[:PAIRS]]) for end in (1, 2))
    rises = np.array([_count_rises(loss) for loss in run.history.train_loss])
    variation = _variation(run)
    if variation is None:
        variation = np.full(len(rises), np.nan)
    yield make_table(
        "effects",
        "Settings that differ in η or λ alone, neighbours by its value. change: of the test "
        "accuracy in the main run; paired change: the same over the repeats, mean ± standard "
        "deviation; rises: of the training loss; total variation: of the weight images, low if "
        f"they are smooth.{left_out}",
        Column("step", "words", [_step(run, *step) for step in steps[:PAIRS]]),
        Column("test accuracy", "change", _pairs(accuracy, low, high)),
        Column("change", "difference", accuracy[high] - accuracy[low]),
        Column("paired change", "spread", _paired(results.repeat_accuracies, low, high)),
        Column("rises", "change", _pairs(rises, low, high)),
        Column("total variation", "change", _pairs(variation, low, high), 3),
    )


def _pairs(
    values: NDArray[Any], low: NDArray[np.intp], high: NDArray[np.intp]
) -> list[tuple[Any, Any] | None]:
    """Return the values before and after each step, None if one of them is unknown."""
    pairs = zip(values[low].tolist(), values[high].tolist(), strict=True)
    return [None if np.isnan(pair).any() else pair for pair in pairs]


def _paired(
    accuracies: NDArray[np.float64], low: NDArray[np.intp], high: NDArray[np.intp]
) -> list[tuple[float, float] | None]:
    """Return mean and standard deviation over the repeats of the change in each step."""
    if not len(accuracies):
        return [None] * len(low)
    difference = accuracies[:, high] - accuracies[:, low]  # (R, steps)
    sd = difference.std(axis=0, ddof=1) if len(difference) > 1 else np.full(len(low), np.nan)
    return list(zip(difference.mean(axis=0).tolist(), sd.tolist(), strict=True))


def _count(results: Results, name: str, pairs: Sequence[tuple[int, int]]) -> str:
    accuracy = results.test_accuracies
    changes = np.array([accuracy[high] - accuracy[low] for low, high in pairs])
    return (
        f"With all else equal, a larger {OPTIONS[name].symbol} raised the test accuracy in "
        f"{(changes > 0).sum()} and lowered it in {(changes < 0).sum()} of "
        f"{count_of(len(pairs), 'pair')}."
    )


def _count_rises(loss: NDArray[np.float64]) -> int:
    return int((np.diff(loss[1:]) > 0).sum())


def _variation(run: Run) -> NDArray[np.float64] | None:
    """Return the total variation of the weight images (M,), if there are any with neighbours."""
    if run.image_shape is None or min(run.image_shape[1:]) < 2:
        return None
    return smoothness(run)


def tell_smoothness(run: Run) -> str:
    """Return a paragraph on the smoothness of the weight images, if there are any."""
    variation = _variation(run)
    sound = [model for model, place in enumerate(run.stopped) if not place]
    if variation is None or not sound:
        return ""
    shown = listing([f"{variation[model]:.3f} for {run.labels[model]}" for model in sound])
    if len(sound) > LISTED:
        known = variation[sound]
        shown = f"{known.min():.3f} to {known.max():.3f} for the {len(sound)} settings"
    return (
        "Total variation of the weight images, which is low if they are smooth (mean absolute "
        "difference of neighbouring pixels, horizontal plus vertical, of images scaled to [0, 1], "
        f"mean of the classes): {shown}."
    )


def _neighbours(results: Results, name: str) -> Iterator[tuple[int, int]]:
    """Yield pairs of models that differ only in `name`, with neighbouring values of it.

    Models that diverged or were not evaluated are left out.
    """
    run, tested = results.run, set(results.evaluated.tolist())
    groups: dict[tuple[tuple[str, Any], ...], list[tuple[float, int]]] = {}
    for model, setting in enumerate(run.settings):
        if model in tested and not run.stopped[model]:
            rest = tuple(item for item in vars(setting).items() if item[0] != name)
            groups.setdefault(rest, []).append((vars(setting)[name], model))
    pairs = []
    for group in groups.values():
        values = sorted(group)
        for place, (value, low) in enumerate(values):
            pairs += [(low, high) for above, high in values[place:] if above > value][:1]
    yield from sorted(pairs)


def _step(run: Run, name: str, low: int, high: int) -> str:
    """Return "λ 0 to 0.1 at η=0.01", with all other words that name the setting."""
    words, symbol = run.words[low], OPTIONS[name].symbol
    fixed = ", ".join(word for word in words if not word.startswith(f"{symbol}="))
    before, after = (vars(run.settings[model])[name] for model in (low, high))
    return f"{symbol} {before:g} to {after:g} at {fixed}"
