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
from onelayer.report.labels import MISSING, decimals, one_line, setting_labels
from onelayer.training.run import Run

HEADER = (
    "l2",
    "learning_rate",
    "epochs",
    "batch_size",
    "published_accuracy",
    "accuracy",
    "accuracy_mean",
    "accuracy_sd",
    "accuracy_min",
    "accuracy_max",
    "orders",
)
_ACCURACIES = slice(4, 10)
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


def table1(results: Results) -> tuple[tuple[float, ...], ...]:
    """Return the rows of Table 1, in the columns of HEADER; NaN where there is no figure."""
    protocol, repeats = results.run.protocol, results.repeat_spread
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
            setting.l2,
            setting.learning_rate,
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
    writer.writerow(HEADER)
    writer.writerows([_exact(value) for value in row] for row in table1(results))
    return text.getvalue()


def _markdown(results: Results) -> str:
    lines = [_row(HEADER), _row(["---:"] * len(HEADER)), *map(_row, _rounded(results))]
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
    names = [rf"\shortstack[r]{{{escape_latex(name)}}}".replace(r"\_", r"\_\\") for name in HEADER]
    body = [f"{' & '.join(row)} \\\\" for row in _rounded(results)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\scriptsize\setlength{\tabcolsep}{1.8pt}",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{@{{}}{'r' * len(HEADER)}@{{}}}}",
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


def _exact(value: float) -> str:
    """Write a number so that reading it back gives the same; nothing for NaN."""
    return "" if math.isnan(value) else repr(value).removesuffix(".0")


def _rounded(results: Results) -> list[list[str]]:
    """Return the cells of Table 1, accuracies with four decimals, empty where NaN."""
    cells = [[_exact(value) for value in row] for row in table1(results)]
    for row in cells:
        row[:2] = [f"{float(cell):g}" for cell in row[:2]]
        row[_ACCURACIES] = [f"{float(cell):.4f}" if cell else "" for cell in row[_ACCURACIES]]
    return cells


def accuracy_table(results: Results) -> Table:
    """Return Table 1 as the report shows it; the setting chosen on validation is set off."""
    R = results.repeat_spread.repeats
    rows = tuple(
        (label, *(cell or MISSING for cell in cells[_ACCURACIES]))
        for label, cells in zip(setting_labels(results.run), _rounded(results), strict=True)
    )
    return Table(
        f"Table 1. Accuracy on the test set. Published; the main run (batches in "
        f"{results.run.protocol['order']} order); mean, standard deviation, minimum and maximum "
        f"over {R} shuffled order{'' if R == 1 else 's'}. Bold: chosen on the validation split.",
        ("setting", "published", "main run", "mean", "sd", "min", "max"),
        rows,
        strong=results.selected,
    )


def final_table(results: Results) -> Table:
    """Return Table 2: loss, cost and accuracy of the models as they were left; the best epoch."""
    finals = [
        results.run.final(f"{split}_{quantity}")
        for split in ("train", "validation")
        for quantity in ("loss", "cost", "accuracy")
    ]
    rows = tuple(
        (label, *(decimals(float(final[model])) for final in finals), _best_epoch(results, model))
        for model, label in enumerate(setting_labels(results.run))
    )
    return Table(
        f"Table 2. {_when(results.run)}, on the whole training and validation split. "
        "Best: the first epoch with the highest validation accuracy, and that accuracy.",
        (
            "setting",
            *(f"{split} {quantity}" for split in ("train", "val.") for quantity in _QUANTITIES),
            "best val. accuracy",
        ),
        rows,
        strong=results.selected,
    )


def _when(run: Run) -> str:
    if (run.kept == run.history.epochs).all():
        return f"After the last epoch ({run.history.epochs})"
    return f"Models as they were left, in epoch {', '.join(map(str, run.kept))}"


_QUANTITIES = ("loss", "cost", "accuracy")


def _best_epoch(results: Results, model: int) -> str:
    curve = results.run.history.validation_accuracy[model]
    if np.isnan(curve).all():
        return MISSING
    column = int(np.nanargmax(curve))
    return f"{curve[column]:.4f} (epoch {results.run.history.measured[column]})"
