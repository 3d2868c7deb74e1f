"""What a report is made of: one content, drawn by the page and by the PDF."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from onelayer.report.labels import MISSING

Tone = Literal["plain", "summary", "notice", "good", "bad"]


@dataclass(frozen=True)
class Subheading:
    """A heading inside a section."""

    text: str
    kind: str = "subheading"


@dataclass(frozen=True)
class Paragraph:
    """Running text; the tone sets it off."""

    text: str
    tone: Tone = "plain"
    kind: str = "paragraph"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]
    kind: str = "bullets"


@dataclass(frozen=True)
class Equations:
    """Numbered equations in Unicode: (number, equation, what it says)."""

    rows: tuple[tuple[str, str, str], ...]
    kind: str = "equations"


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first `text_columns` columns are words, the others numbers.

    The first column names its row. `strong` is the row to set off, if any; `mark` says what it is.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    strong: int | None = None
    mark: str = ""
    kind: str = "table"

    @property
    def full_caption(self) -> str:
        """The caption with what the row in bold is."""
        return f"{self.caption} Bold: {self.mark}." if self.mark else self.caption

    def without(self, names: Collection[str]) -> "Table":
        """Return the table without the columns of these names, of which it may lack some."""
        shown = [place for place, name in enumerate(self.header) if name not in names]
        return replace(
            self,
            header=tuple(self.header[place] for place in shown),
            rows=tuple(tuple(row[place] for place in shown) for row in self.rows),
            text_columns=sum(place < self.text_columns for place in shown),
        )


def make_table(
    caption: str,
    columns: Mapping[str, Sequence[str]],
    *,
    text_columns: int = 1,
    strong: int | None = None,
    mark: str = "",
) -> Table:
    """Return a table of `columns` by name, without those that are missing in every row."""
    shown = {name: cells for name, cells in columns.items() if set(cells) != {MISSING}}
    rows = tuple(zip(*shown.values(), strict=True))
    return Table(caption, tuple(shown), rows, text_columns, strong, mark)


@dataclass(frozen=True)
class Picture:
    """A figure on disk, as `png` and `svg`; `width` is its width in the report in millimetres."""

    png: Path
    svg: Path
    caption: str
    alt: str
    width: float
    kind: str = "picture"


@dataclass(frozen=True)
class Code:
    """Commands as they are typed."""

    text: str
    kind: str = "code"


Block = Subheading | Paragraph | Bullets | Equations | Table | Picture | Code


@dataclass(frozen=True)
class Section:
    """A titled part of the report."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """Title, source and the sections, in reading order; `notice` must not be overlooked."""

    title: str
    source: str
    notice: str
    sections: tuple[Section, ...]
