"""What a report is made of: one content, drawn by the page and by the PDF."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from onelayer.report.labels import KINDS, MISSING, is_missing

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
class Column:
    """Values under a heading, one a row: numbers of a kind of labels.KINDS, not yet written.

    None and NaN are missing. `digits` are given where the kind has others; `key` is the name in a
    file and that by which a table picks it, by default the heading.
    """

    name: str
    kind: str
    values: Sequence[Any] | NDArray[Any]
    digits: int | None = None
    key: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.values, np.ndarray):
            object.__setattr__(self, "values", self.values.tolist())
        if not self.key:
            key = re.sub(r"[^\w%]+", "_", self.name).strip("_")
            object.__setattr__(self, "key", key)

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The values as they are shown."""
        kind = KINDS[self.kind]
        digits = kind.digits if self.digits is None else self.digits
        return tuple(MISSING if is_missing(v) else kind.write(v, digits) for v in self.values)

    @property
    def exact(self) -> dict[str, list[Any]]:
        """The values as a file holds them, a column for each of their parts."""
        parts = KINDS[self.kind].parts
        if len(parts) == 1:
            return {self.key: [_plain(value) for value in self.values]}
        return {
            self.key + part: [None if is_missing(v) else _plain(v[place]) for v in self.values]
            for place, part in enumerate(parts)
        }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class Table:
    """Typed columns, of which the first name the rows; `stem` names its file.

    `strong` is the row to set off, if any; `mark` says what it is. `file` is where the exact
    numbers lie beside the report, if they do.
    """

    stem: str
    caption: str
    columns: tuple[Column, ...]
    strong: int | None = None
    mark: str = ""
    file: str = ""
    kind: str = "table"

    @property
    def header(self) -> tuple[str, ...]:
        """The headings."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The cells as they are shown, row by row."""
        return tuple(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def text_columns(self) -> int:
        """How many of the first columns are words."""
        kinds = [column.kind for column in self.columns]
        return next((n for n, kind in enumerate(kinds) if kind != "words"), len(kinds))

    @property
    def exact(self) -> dict[str, list[Any]]:
        """The columns as a file holds them."""
        return {name: v for column in self.columns for name, v in column.exact.items()}

    @property
    def full_caption(self) -> str:
        """The caption with what the row in bold is."""
        return f"{self.caption} Bold: {self.mark}." if self.mark else self.caption

    @property
    def known(self) -> "Table":
        """The table without the columns that are missing in every row."""
        known = (column for column in self.columns if not all(map(is_missing, column.values)))
        return replace(self, columns=tuple(known))

    def take(self, rows: Iterable[int]) -> "Table":
        """Return the table of these rows alone, in that order."""
        rows = list(rows)
        columns = (replace(c, values=[c.values[row] for row in rows]) for c in self.columns)
        return replace(self, columns=tuple(columns))

    def without(self, keys: Collection[str]) -> "Table":
        """Return the table without the columns of these keys, of which it may lack some."""
        return replace(self, columns=tuple(c for c in self.columns if c.key not in keys))

    def pick(
        self, keys: Iterable[str], headings: Mapping[str, str] | None = None
    ) -> tuple[Column, ...]:
        """Return the columns of these keys, in that order, under other headings where given."""
        columns, names = {column.key: column for column in self.columns}, headings or {}
        return tuple(replace(columns[key], name=names.get(key, columns[key].name)) for key in keys)


def make_table(
    stem: str, caption: str, *columns: Column, strong: int | None = None, mark: str = ""
) -> Table:
    """Return a table of `columns` without those that are missing in every row."""
    return Table(stem, caption, columns, strong, mark).known


@dataclass(frozen=True)
class Picture:
    """A figure on disk, as `png` and `svg`; `width` is its width in the report in millimetres.

    `file` is where it lies beside the report, if it does.
    """

    png: Path
    svg: Path
    caption: str
    alt: str
    width: float
    file: str = ""
    kind: str = "picture"


@dataclass(frozen=True)
class Code:
    """Commands as they are typed."""

    text: str
    kind: str = "code"


Block = Subheading | Paragraph | Bullets | Equations | Table | Picture | Code


F = TypeVar("F")


@dataclass(frozen=True)
class Section(Generic[F]):
    """A titled part of every report of some facts: `blocks` makes it of them.

    It applies where it has a block. `folded` is what few readers need: it is closed on the page.
    """

    title: str
    blocks: Callable[[F], Iterable[Block | None]]
    folded: bool = False

    def of(self, facts: F) -> "Part":
        """Return the section of these facts, which may be empty."""
        blocks = tuple(block for block in self.blocks(facts) if block is not None)
        return Part(self.title, blocks, self.folded)


@dataclass(frozen=True)
class Part:
    """A section with its blocks."""

    title: str
    blocks: tuple[Block, ...]
    folded: bool = False

    @property
    def anchor(self) -> str:
        """What an address of this part ends in, such as "training-curves"."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Report:
    """Title, source and the parts, in reading order; `byline` is author and date.

    `notice` must not be overlooked.
    """

    title: str
    source: str
    notice: str
    sections: tuple[Part, ...]
    byline: str = ""


def compose(sections: Iterable[Section[F]], facts: F) -> tuple[Part, ...]:
    """Return the sections that apply to these facts, their tables and figures numbered.

    Each knows the name of its file, which begins with its number.
    """
    counts = {"Table": 0, "Figure": 0}

    def number(block: Block) -> Block:
        if not isinstance(block, Table | Picture):
            return block
        name = "Table" if isinstance(block, Table) else "Figure"
        counts[name] += 1
        caption = f"{name} {counts[name]}. {block.caption}"
        if isinstance(block, Picture):
            return replace(block, caption=caption, file=f"figures/{block.svg.name}")
        file = f"tables/{counts[name]:02d}-{block.stem}.csv"
        return replace(block, caption=caption, file=file)

    parts = (section.of(facts) for section in sections)
    return tuple(
        replace(part, blocks=tuple(map(number, part.blocks))) for part in parts if part.blocks
    )
