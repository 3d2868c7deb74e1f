"""Table 1 as files, and the tables of the report."""

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onelayer.evaluation.results import Results
from onelayer.report.blocks import Table
from onelayer.report.choice import ROWS, chosen_words, show_settings
from onelayer.report.labels import (
    MISSING,
    decimals,
    one_line,
    setting_labels,
    split_words,
    validated,
)
from onelayer.training.hyperparameters import OPTIONS
from onelayer.training.run import Run

_NAMES = ("l2", "learning_rate")
_FIGURES = (
    "epochs",
    "batch_size",
    "published_accuracy",
    "accuracy",
    "accuracy_mean",
    "accuracy_sd",
    "accuracy_min",
    "accuracy_max",
    "repeats",
)
_ACCURACIES = slice(-7, -1)
_CAPTION = (
    "Accuracy on the test set. accuracy: the main run; accuracy_mean to accuracy_max: "
    "over the repeats, each in an order of its own."
)
_TEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # \textquotedbl is missing from LaTeX's default encoding
    "λ": r"$\lambda$",
    "η": r"$\eta$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
}
_TEX_KNOWS = "–—‘’“”…"  # beyond Latin letters, what LaTeX sets without a package


def header(run: Run) -> tuple[str, ...]:
    """Return the columns of Table 1: of λ, η and whatever is not at its default in some setting."""
    others = [
        name
        for name, each in OPTIONS.items()
        if name not in _NAMES
        if any(getattr(setting, name) != each.default for setting in run.settings)
    ]
    return (*_NAMES, *others, *_FIGURES)


def table1(results: Results) -> tuple[tuple[float | str, ...], ...]:
    """Return the rows of Table 1, in the columns of `header`; NaN where there is no figure."""
    protocol, repeats = results.run.protocol, results.repeat_spread
    names = header(results.run)[: -len(_FIGURES)]
    columns = (
        results.published,
        results.test_accuracies,
        repeats.mean,
        repeats.sd,
        repeats.min,
        repeats.max,
    )
    return tuple(
        (
            *(getattr(setting, name) for name in names),
            protocol["epochs"],
            protocol["batch_size"],
            *(float(column[model]) for column in columns),
            repeats.repeats,
        )
        for model, setting in enumerate(results.run.settings)
    )


def write_table1(results: Results, folder: Path) -> None:
    """Write table1.csv (exact), table1.md and table1.tex (four decimals) into `folder`."""
    for extension, render in (("csv", _csv), ("md", _markdown), ("tex", _latex)):
        (folder / f"table1.{extension}").write_text(render(results), "utf-8", newline="\n")


def _csv(results: Results) -> str:
    text = io.StringIO()
    if results.notice:
        text.write(f"# {one_line(results.notice)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header(results.run))
    writer.writerows([_exact(value) for value in row] for row in table1(results))
    return text.getvalue()


def _markdown(results: Results) -> str:
    names = header(results.run)
    lines = [_row(names), _row(["---:"] * len(names)), *map(_row, _rounded(results))]
    if results.notice:
        escaped = re.sub(r"([\\`*_{}\[\]<>#|!&])", r"\\\1", one_line(results.notice))
        lines = [f"> **Notice:** {escaped}", "", *lines]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex(results: Results) -> str:
    """Render a table that needs the package booktabs and nothing else."""
    notice = rf" \textbf{{Notice: {escape_latex(one_line(results.notice))}}}"
    caption = escape_latex(_CAPTION) + (notice if results.notice else "")
    # Names break at their underscores, so that eleven columns fit a page.
    names = [
        rf"\shortstack[r]{{{escape_latex(name)}}}".replace(r"\_", r"\_\\")
        for name in header(results.run)
    ]
    body = [f"{' & '.join(map(escape_latex, row))} \\\\" for row in _rounded(results)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\scriptsize\setlength{\tabcolsep}{1.8pt}",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{@{{}}{'r' * len(names)}@{{}}}}",
            r"\toprule",
            f"{' & '.join(names)} \\\\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Return the text so that LaTeX sets it as it is; what its fonts lack becomes a question mark.

    Control characters are dropped.
    """
    return "".join(map(_tex_character, text))


def _tex_character(character: str) -> str:
    if character in _TEX:
        return _TEX[character]
    if character < " ":
        return ""
    latin = character <= "~" or (character.isalpha() and character < "\u0180")
    return character if latin or character in _TEX_KNOWS else "?"


def _exact(value: float | str) -> str:
    """Write a number so that reading it back gives the same; nothing for NaN."""
    if isinstance(value, str | bool):
        return str(value).lower()
    return "" if math.isnan(value) else repr(value).removesuffix(".0")


def _rounded(results: Results) -> list[list[str]]:
    """Return the cells of Table 1, accuracies with four decimals, empty where NaN."""
    rounded = []
    for row in table1(results):
        cells = [f"{value:g}" if isinstance(value, float) else _exact(value) for value in row]
        accuracies = map(float, row[_ACCURACIES])
        cells[_ACCURACIES] = ["" if math.isnan(a) else f"{a:.4f}" for a in accuracies]
        rounded.append(cells)
    return rounded


def accuracy_table(results: Results) -> Table:
    """Return Table 1 as the report shows it; the chosen setting is set off."""
    R = results.repeat_spread.repeats
    models, told = show_settings(results, ROWS)
    labels, cells = setting_labels(results.run), _rounded(results)
    rows = tuple(
        (labels[model], *(cell or MISSING for cell in cells[model][_ACCURACIES]))
        for model in models
    )
    return Table(
        f"Table 1. Accuracy on the test set. Published; the main run (batches in "
        f"{results.run.protocol['order']} order); mean, standard deviation, minimum and maximum "
        f"over {R} shuffled order{'' if R == 1 else 's'}. Bold: {chosen_words(results)}."
        f"{told}",
        ("setting", "published", "main run", "mean", "sd", "min", "max"),
        rows,
        strong=models.index(results.selected),
    )


_QUANTITIES = ("loss", "cost", "accuracy")


def final_table(results: Results) -> Table:
    """Return Table 2: loss, cost and accuracy of the models as they were left; the best epoch."""
    run = results.run
    models, told = show_settings(results, ROWS)
    columns = {
        f"{name} {quantity}": run.final(f"{split}_{quantity}")
        for split, name in (("train", "train"), ("validation", "val."))[: 1 + validated(run)]
        for quantity in _QUANTITIES
    }
    excess = run.final("train_cost") - results.optimal_costs
    labels, differ = setting_labels(run), bool((run.kept != run.history.epochs).any())
    rows = tuple(
        (
            labels[model],
            *[str(run.kept[model])] * differ,
            *(decimals(float(column[model])) for column in columns.values()),
            *[_excess(float(excess[model]))] * _known(results),
            *[_best_epoch(results, model)] * validated(run),
        )
        for model in models
    )
    best = " Best: the first epoch with the highest validation accuracy, and that accuracy."
    optimum = " Above optimum: training cost less the least one that λ and the loss allow."
    return Table(
        f"Table 2. {_when(run)}, on the whole {split_words(run)}.{optimum * _known(results)}"
        f"{best * validated(run)}{told}",
        (
            "setting",
            *["epoch"] * differ,
            *columns,
            *["above optimum"] * _known(results),
            *["best val. accuracy"] * validated(run),
        ),
        rows,
        strong=models.index(results.selected),
    )


def _known(results: Results) -> bool:
    """Whether the optimum of any setting is known."""
    return bool(np.isfinite(results.optimal_costs).any())


def _excess(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.2e}".replace("-", "−")


def _when(run: Run) -> str:
    if (run.kept == run.history.epochs).all():
        return f"After the last epoch ({run.history.epochs})"
    return "Models as they were left, after the epoch given"


def _best_epoch(results: Results, model: int) -> str:
    curve = results.run.history.validation_accuracy[model]
    if np.isnan(curve).all():
        return MISSING
    column = int(np.nanargmax(curve))
    return f"{curve[column]:.4f} (epoch {results.run.history.measured[column]})"
