"""The blocks of a report: one content, drawn by the page and by the PDF."""

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
    """Numbered equations in Unicode: (number, equation, remark)."""

    rows: tuple[tuple[str, str, str], ...]
    kind: str = "equations"


@dataclass(frozen=True)
class Column:
    """Values under a heading, one a row: numbers of a kind of labels.KINDS, not yet written.

    None and NaN are missing. `digits` are given if they differ from those of the kind; `key` is the
    name in a file and in `Table.pick`, by default the heading.
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
        """The values as texts to show."""
        kind = KINDS[self.kind]
        digits = kind.digits if self.digits is None else self.digits
        return tuple(MISSING if is_missing(v) else kind.write(v, digits) for v in self.values)

    @property
    def exact(self) -> dict[str, list[Any]]:
        """The values for a file, a column for each of their parts."""
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
    """Typed columns, the first of which name the rows; `stem` is the name of its file.

    `strong` is the row to set off, if any, and `mark` its description. `file` is the path of the
    exact numbers beside the report, if there is one.
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
        """The cells as texts to show, row by row."""
        return tuple(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def text_columns(self) -> int:
        """The number of first columns that hold words."""
        kinds = [column.kind for column in self.columns]
        return next((n for n, kind in enumerate(kinds) if kind != "words"), len(kinds))

    @property
    def exact(self) -> dict[str, list[Any]]:
        """The columns for a file."""
        return {name: v for column in self.columns for name, v in column.exact.items()}

    @property
    def full_caption(self) -> str:
        """The caption with a description of the row in bold."""
        return f"{self.caption} Bold: {self.mark}." if self.mark else self.caption

    @property
    def known(self) -> "Table":
        """The table without the columns that are missing in every row."""
        known = (column for column in self.columns if not all(map(is_missing, column.values)))
        return replace(self, columns=tuple(known))

    def take(self, rows: Iterable[int]) -> "Table":
        """Return the table of only these rows, in this order."""
        rows = list(rows)
        columns = (replace(c, values=[c.values[row] for row in rows]) for c in self.columns)
        return replace(self, columns=tuple(columns))

    def without(self, keys: Collection[str]) -> "Table":
        """Return the table without the columns of these keys; it may lack some of them."""
        return replace(self, columns=tuple(c for c in self.columns if c.key not in keys))

    def pick(
        self, keys: Iterable[str], headings: Mapping[str, str] | None = None
    ) -> tuple[Column, ...]:
        """Return the columns of these keys, in this order, with other headings if given."""
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

    `file` is its path beside the report, if there is one.
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
    """Commands to type."""

    text: str
    kind: str = "code"


Block = Subheading | Paragraph | Bullets | Equations | Table | Picture | Code


F = TypeVar("F")


@dataclass(frozen=True)
class Section(Generic[F]):
    """A titled part of every report on facts of one kind: `blocks` makes its blocks from them.

    It applies if it has a block. A `folded` section, for few readers, is closed on the page.
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
        """The end of the address of this part, such as "training-curves"."""
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
    """Return the sections that apply to these facts, with numbered tables and figures.

    The name of the file of each table or figure begins with its number.
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
