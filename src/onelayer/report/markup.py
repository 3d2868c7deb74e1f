"""Tables as Markdown and LaTeX, and texts in them as they are."""

import re
import unicodedata
from collections.abc import Sequence

from onelayer.errors import visible
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
_TEX_KNOWS = "–—‘’“”…ßæÆœŒøØłŁı"  # beyond accents, what LaTeX sets without a package
_TEX_ACCENTS = set("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")


def markdown_table(
    names: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 0, notice: str = ""
) -> str:
    """Return a table of Markdown, of which the first `text_columns` are words."""
    sides = ["---"] * text_columns + ["---:"] * (len(names) - text_columns)
    lines = [_row(names), _row(sides)]
    lines += [_row([escape_markdown(cell) for cell in row]) for row in rows]
    if notice:
        lines = [f"> **Notice:** {escape_markdown(notice)}", "", *lines]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape_markdown(text: str) -> str:
    """Return the text so that Markdown shows it as it is: no markup, link, mathematics or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|!&$~^@]|:(?=//)|(?<=[Ww]{3})\.)", r"\\\1", visible(text))


def latex_table(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    *,
    text_columns: int = 0,
    label: str = "",
) -> str:
    """Return a table that needs the package booktabs and nothing else; the caption is LaTeX."""
    # Names break at their underscores, so that eleven columns fit a page.
    heads = [rf"\shortstack[r]{{{escape_latex(name)}}}".replace(r"\_", r"\_\\") for name in names]
    sides = "l" * text_columns + "r" * (len(names) - text_columns)
    body = [f"{' & '.join(map(escape_latex, row))} \\\\" for row in rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\scriptsize\setlength{\tabcolsep}{1.8pt}",
            rf"\caption{{{caption}}}",
            *([rf"\label{{{label}}}"] if label else []),
            rf"\begin{{tabular}}{{@{{}}{sides}@{{}}}}",
            r"\toprule",
            f"{' & '.join(heads)} \\\\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Return the text so that LaTeX sets it as it is; what its fonts lack is transliterated."""
    written = legible(one_line(text), lambda character: character in _TEX or _tex_sets(character))
    return "".join(_TEX.get(character, character) for character in written).replace("--", "-{}-")


def _tex_sets(character: str) -> bool:
    """Whether LaTeX sets the character without a package: ASCII, and letters with its accents."""
    parts = unicodedata.normalize("NFD", character)
    letter = parts[0].isascii() and parts[0].isprintable() and set(parts[1:]) <= _TEX_ACCENTS
    return character in _TEX_KNOWS or (letter and character < "\u0180")
