"""What a report is made of: one content, drawn by the page and by the PDF."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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

    The first column names its row. `strong` is the row to set off, if any.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    strong: int | None = None
    kind: str = "table"


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
