"""What happened in training, and what λ and η changed: tables over the settings of one run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.results import Results
from onelayer.evaluation.weight_images import smoothness
from onelayer.report.blocks import Block, Paragraph, Table, make_table
from onelayer.report.choice import ROWS, show_settings
from onelayer.report.labels import MISSING, count_of, decimals, listing, signed
from onelayer.training.run import Run

PAIRS = 24  # rows of the table of effects
LISTED = 12  # settings whose numbers are listed in a sentence
_SYMBOLS = {"learning_rate": "η", "l2": "λ"}


def rises_table(results: Results) -> Table | None:
    """Return how often the training loss rose, and its largest rise, for each setting."""
    history = results.run.history
    if len(history.measured) < 3:
        return None
    models, note = show_settings(results, ROWS)
    cells = [_rises(history.train_loss[model], history.measured) for model in models]
    columns = {name: [row[name] for row in cells] for name in cells[0]}
    return make_table(
        "Rises of the training loss from one measured epoch to the next, after the first; the "
        "largest, its epochs and its losses. first: the loss before and after the first measured "
        f"epoch, if it rose.{note}",
        {"setting": [results.run.labels[model] for model in models]} | columns,
    )


def _rises(loss: NDArray[np.float64], epochs: NDArray[np.intp]) -> dict[str, str]:
    rises = np.diff(loss[1:])
    count, known = _count_rises(loss), int(np.isfinite(rises).sum())
    cells = {"rises": f"{count} of {known}", "largest": MISSING, "epochs": MISSING, "loss": MISSING}
    if count:
        at = int(np.nanargmax(rises)) + 1
        cells |= {
            "largest": decimals(rises[at - 1]),
            "epochs": f"{epochs[at]} to {epochs[at + 1]}",
            "loss": _change(loss[at], loss[at + 1]),
        }
    return cells | {"first": _change(loss[0], loss[1]) if loss[1] > loss[0] else MISSING}


def _change(before: float, after: float, digits: int = 4) -> str:
    return f"{decimals(before, digits)} to {decimals(after, digits)}"


def endings_table(results: Results) -> Table | None:
    """Return where models diverged, in the main run and the repeats, or ended early."""
    run, R, rows = results.run, len(results.repeats), []
    stopped = Counter(
        setting
        for repeat in results.repeats
        for setting, place in dict(zip(repeat.settings, repeat.stopped, strict=True)).items()
        if place
    )
    for model, (name, setting) in enumerate(zip(run.labels, run.settings, strict=True)):
        diverged = stopped[setting]
        what = run.ended[model] or MISSING
        if run.stopped[model]:
            what = f"diverged in {run.stopped[model]}"
        if what != MISSING or diverged:
            repeats = f"{diverged} of {R}" if diverged else MISSING
            rows.append((name, what, repeats, f"{run.kept[model]}"))
    if not rows:
        return None
    left_out = f" {len(rows) - ROWS} more are left out." if len(rows) > ROWS else ""
    names = ("setting", "main run", "diverged in repeats", "parameters of epoch")
    return make_table(
        f"{count_of(len(rows), 'setting')} of {len(run.settings)} diverged or ended before the "
        "last epoch. A model whose scores or cost are no longer finite has diverged: its curves "
        f"end there, and it is neither evaluated nor compared.{left_out}",
        dict(zip(names, zip(*rows[:ROWS], strict=True), strict=True)),
        text_columns=2,
    )


def effect_blocks(results: Results) -> Iterator[Block]:
    """Yield what a larger η and a larger λ changed, in settings that differ in nothing else."""
    pairs = {name: list(_neighbours(results.run, name)) for name in _SYMBOLS}
    if not any(pairs.values()):
        return
    variation = _variation(results.run)
    yield Paragraph(" ".join(_count(results, name, pairs[name]) for name in pairs if pairs[name]))
    steps = [(name, *pair) for name, found in pairs.items() for pair in found]
    left_out = f" {len(steps) - PAIRS} more are left out." if len(steps) > PAIRS else ""
    rows = [_effect(results, variation, *step) for step in steps[:PAIRS]]
    yield make_table(
        "Settings that differ in η or λ alone, neighbours by its value. change: of the test "
        "accuracy in the main run; paired change: the same over the repeats, mean ± standard "
        "deviation; rises: of the training loss; total variation: of the weight images, low if "
        f"they are smooth.{left_out}",
        {name: [row[name] for row in rows] for name in rows[0]},
    )


def _count(results: Results, name: str, pairs: Sequence[tuple[int, int]]) -> str:
    accuracy = results.test_accuracies
    changes = np.array([accuracy[high] - accuracy[low] for low, high in pairs])
    return (
        f"With all else equal, a larger {_SYMBOLS[name]} raised the test accuracy in "
        f"{(changes > 0).sum()} and lowered it in {(changes < 0).sum()} of "
        f"{count_of(len(pairs), 'pair')}."
    )


def _effect(
    results: Results, variation: NDArray[np.float64] | None, name: str, low: int, high: int
) -> dict[str, str]:
    run, accuracy = results.run, results.test_accuracies
    before, after = (_count_rises(run.history.train_loss[model]) for model in (low, high))
    cells = {"step": _step(run, name, low, high)}
    cells |= dict.fromkeys(("test accuracy", "change", "paired change"), MISSING)
    if not np.isnan(accuracy[high] - accuracy[low]):
        cells["test accuracy"] = _change(accuracy[low], accuracy[high])
        cells["change"] = signed(float(accuracy[high] - accuracy[low]))
    difference = results.repeat_accuracies[:, high] - results.repeat_accuracies[:, low]
    if difference.size and not np.isnan(difference).any():
        cells["paired change"] = signed(float(difference.mean()))
        if difference.size > 1:
            cells["paired change"] += f" ± {difference.std(ddof=1):.4f}"
    cells["rises"] = f"{before} to {after}"
    smooth = MISSING if variation is None else _change(variation[low], variation[high], 3)
    return cells | {"total variation": smooth}


def _count_rises(loss: NDArray[np.float64]) -> int:
    return int((np.diff(loss[1:]) > 0).sum())


def _variation(run: Run) -> NDArray[np.float64] | None:
    """Return the total variation of the weight images (M,), if there are any with neighbours."""
    if run.image_shape is None or min(run.image_shape[1:]) < 2:
        return None
    return smoothness(run)


def tell_smoothness(run: Run) -> str:
    """Say how smooth the weight images are, if there are any."""
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


def _neighbours(run: Run, name: str) -> Iterator[tuple[int, int]]:
    """Yield pairs of models that differ in `name` alone, next to each other by its value.

    Models that diverged are left out.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[tuple[float, int]]] = {}
    for model, setting in enumerate(run.settings):
        if not run.stopped[model]:
            rest = tuple(item for item in vars(setting).items() if item[0] != name)
            groups.setdefault(rest, []).append((vars(setting)[name], model))
    pairs = []
    for group in groups.values():
        values = sorted(group)
        for place, (value, low) in enumerate(values):
            pairs += [(low, high) for above, high in values[place:] if above > value][:1]
    yield from sorted(pairs)


def _step(run: Run, name: str, low: int, high: int) -> str:
    """Return "λ 0 to 0.1 at η=0.01", with all else that names the setting."""
    words, symbol = run.words[low], _SYMBOLS[name]
    fixed = ", ".join(word for word in words if not word.startswith(f"{symbol}="))
    before, after = (vars(run.settings[model])[name] for model in (low, high))
    return f"{symbol} {before:g} to {after:g} at {fixed}"
