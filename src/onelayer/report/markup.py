"""Tables as files for other programs and for papers, with texts that mean no markup."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from onelayer.errors import visible
from onelayer.evaluation.csv_export import write_csv
from onelayer.evaluation.parquet_export import write_parquet
from onelayer.report.blocks import Table
from onelayer.report.labels import one_line
from onelayer.report.lettering import legible

_TEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "`": "{}`",  # ?` would be another sign
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
_BREAK = r"\\"
_TEX_KNOWS = "–—‘’“”…ßæÆœŒøØłŁı"  # beyond accents, what LaTeX sets without a package
_TEX_ACCENTS = set("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")


def write_data(table: Table, stem: Path, notice: str = "") -> None:
    """Write the exact numbers as `stem`.csv and, where pyarrow is installed, `stem`.parquet."""
    write_csv(table.exact, stem.with_suffix(".csv"), notice)
    write_parquet(table.exact, stem.with_suffix(".parquet"))


def write_markup(table: Table, stem: Path, notice: str = "", figure: str = "") -> None:
    """Write the table as `stem`.md and `stem`.tex, with a comment on how to make the `figure`."""
    latex = latex_table(table, notice, figure)
    for end, text in ((".md", markdown_table(table, notice)), (".tex", latex)):
        stem.with_suffix(end).write_text(text, "utf-8", newline="\n")


def markdown_table(table: Table, notice: str = "") -> str:
    """Return a table of Markdown, below the notice if there is one."""
    words = table.text_columns
    sides = ["---"] * words + ["---:"] * (len(table.header) - words)
    lines = [_row(list(map(escape_markdown, table.header))), _row(sides)]
    lines += [_row([escape_markdown(cell) for cell in row]) for row in table.rows]
    if notice:
        lines = [f"> **Notice:** {escape_markdown(notice)}", "", *lines]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape_markdown(text: str) -> str:
    """Return the text escaped for Markdown: no markup, link, mathematics or HTML in it."""
    return re.sub(r"([\\`*_{}\[\]<>#|!&$~^@]|:(?=//)|(?<=[Ww]{3})\.)", r"\\\1", visible(text))


def latex_table(table: Table, notice: str = "", figure: str = "") -> str:
    """Return a table that needs the package booktabs and nothing else."""
    # Headings break at their blanks, so that eleven columns fit a page.
    heads = [
        rf"\shortstack[{side}]{{{_BREAK.join(map(escape_latex, name.split(' ')))}}}"
        for name, side in zip(table.header, _sides(table), strict=True)
    ]
    caption = escape_latex(table.full_caption)
    if notice:
        caption += rf" \textbf{{Notice: {escape_latex(notice)}}}"
    body = [[escape_latex(cell) for cell in row] for row in table.rows]
    if table.strong is not None and table.mark:
        body[table.strong] = [rf"\textbf{{{cell}}}" for cell in body[table.strong]]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}.",
            *([f"% A figure for it, to be included unscaled: {figure}"] if figure else []),
            r"\begin{table}",
            r"\centering\scriptsize\setlength{\tabcolsep}{1.8pt}",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{table.stem}}}",
            rf"\begin{{tabular}}{{@{{}}{_sides(table)}@{{}}}}",
            r"\toprule",
            f"{' & '.join(heads)} {_BREAK}",
            r"\midrule",
            *(f"{' & '.join(row)} {_BREAK}" for row in body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _sides(table: Table) -> str:
    words = table.text_columns
    return "l" * words + "r" * (len(table.header) - words)


def escape_latex(text: str) -> str:
    """Return the text escaped for LaTeX; characters that its fonts lack are transliterated."""
    written = legible(one_line(text), lambda character: character in _TEX or _tex_sets(character))
    return "".join(_TEX.get(character, character) for character in written).replace("--", "-{}-")


def _tex_sets(character: str) -> bool:
    """Return whether LaTeX has a character without a package: ASCII, and letters with accents."""
    parts = unicodedata.normalize("NFD", character)
    letter = parts[0].isascii() and parts[0].isprintable() and set(parts[1:]) <= _TEX_ACCENTS
    return character in _TEX_KNOWS or (letter and character < "\u0180")
