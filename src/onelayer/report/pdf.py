"""The report as a PDF, drawn in pure Python."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fpdf import FPDF
from fpdf.fonts import FontFace

from onelayer.errors import visible
from onelayer.report.blocks import (
    Block,
    Bullets,
    Code,
    Equations,
    Paragraph,
    Picture,
    Report,
    Subheading,
    Table,
)
from onelayer.report.lettering import BOLD, MONO, REGULAR, font_file, legible

_MARGIN, _FOOT = 20.0, 20.0  # millimetres
_LINE = 5.0
_FAMILY = "DejaVu"
_INK, _GREY, _RULE = (26, 26, 26), (80, 80, 80), (200, 200, 200)
# Tone: (bar, background).
_TONES = {
    "summary": ((0, 114, 178), (241, 247, 251)),
    "notice": ((179, 0, 0), (255, 240, 238)),
    "good": ((0, 118, 90), (239, 248, 245)),
    "bad": ((179, 0, 0), (255, 240, 238)),
}


def write_pdf(report: Report, path: Path) -> None:
    """Write the report as an A4 PDF; the same report gives the same bytes."""
    _Document(report).output(str(path))


class _Document(FPDF):
    """An A4 document that draws each block and chooses where a page ends."""

    def __init__(self, report: Report) -> None:
        super().__init__(format="A4")
        self._title = report.title
        self.add_font(_FAMILY, "", font_file(REGULAR))
        self.add_font(_FAMILY, "B", font_file(BOLD))
        self.add_font("Mono", "", font_file(MONO))
        # A fixed date: the time of drawing is not part of the results.
        self.set_creation_date(datetime(2000, 1, 1, tzinfo=UTC))
        self.set_title(visible(report.title))
        self.set_lang("en")
        self.set_margins(_MARGIN, 18, _MARGIN)
        self.set_auto_page_break(True, _FOOT)
        self.c_margin = 0
        self.add_page()
        self._draw_head(report)
        for section in report.sections:
            self._keep(14 + self._height_of_start(section.blocks[0]))
            self._heading(section.title, level=0)
            for block, following in zip(section.blocks, [*section.blocks[1:], None], strict=True):
                self._draw(block, following)

    def normalize_text(self, text: str) -> str:
        """Return the text with the characters that the fonts have."""
        return legible(text)

    def header(self) -> None:
        """Switch the alias {nb} off, so that a name with {nb} stays as it is."""
        self.alias_nb_pages("")

    def footer(self) -> None:
        """Draw the number of the page, and {nb} as the number of pages."""
        self.alias_nb_pages()
        self.set_y(-14)
        self._font(8, colour=_GREY)
        self.cell(0, 5, f"{self.page_no()} / {{nb}}", align="C")

    def _font(
        self,
        size: float,
        style: str = "",
        colour: tuple[int, int, int] = _INK,
        family: str = _FAMILY,
    ) -> None:
        self.set_font(family, style, size)
        self.set_text_color(*colour)

    def _write(self, text: str, line: float = _LINE, **options: Any) -> Any:
        options = {"align": "L", "new_x": "LMARGIN", "new_y": "NEXT"} | options
        return self.multi_cell(options.pop("w", 0), line, text, **options)

    def _lines(self, text: str, width: float) -> int:
        """Return the number of lines that the text takes in the current font."""
        height = self.multi_cell(width, 1, text, align="L", dry_run=True, output="HEIGHT")
        assert isinstance(height, float | int)
        return round(height)

    def _keep(self, height: float) -> None:
        """Begin a new page unless this one is empty or has `height` millimetres left."""
        if self.will_page_break(min(height, self.eph)) and self.get_y() > self.t_margin:
            self.add_page()

    def _draw_head(self, report: Report) -> None:
        self._font(19, "B")
        self._write(report.title, 9)
        self.ln(1.5)
        self._font(9, colour=_GREY)
        for text in filter(None, (report.byline, report.source)):
            self._write(text, 4.5)
        self.ln(2)
        if report.notice:
            self._font(12, "B", (150, 0, 0))
            self._boxed(f"Notice: {report.notice}", "notice", 6)

    def _heading(self, text: str, level: int) -> None:
        self.ln(5 if level == 0 else 2)
        self.start_section(text, level=level)
        self._font((14, 11)[level], "B")
        self._write(text, (7, 5.5)[level])
        if level == 0:
            self.set_draw_color(*_RULE)
            self.line(self.l_margin, self.get_y() + 0.5, self.w - self.r_margin, self.get_y() + 0.5)
            self.ln(3)
        else:
            self.ln(0.5)

    def _height_of_start(self, block: Block) -> float:
        """Return the height that a heading needs below it, so that it does not stand alone."""
        if isinstance(block, Picture):
            return self._picture_size(block)[1] + 15
        if isinstance(block, Table):
            return self._height_together(block)
        return 16

    def _draw(self, block: Block, following: Block | None) -> None:
        match block:
            case Subheading():
                self._keep(8 + (self._height_of_start(following) if following else 0))
                self._heading(block.text, level=1)
            case Paragraph():
                self._draw_paragraph(block)
            case Bullets():
                self._draw_bullets(block)
            case Equations():
                self._draw_equations(block)
            case Table():
                self._draw_table(block)
            case Picture():
                self._draw_picture(block)
            case Code():
                self._draw_code(block)

    def _draw_paragraph(self, block: Paragraph) -> None:
        self._font(9.5, "B" if block.tone == "bad" else "")
        if block.tone == "plain":
            self._write(block.text)
            self.ln(1.5)
        else:
            self._boxed(block.text, block.tone, _LINE)

    def _boxed(self, text: str, tone: str, line: float) -> None:
        bar, background = _TONES[tone]
        height = self._lines(text, self.epw - 7) * line + 3
        self._keep(height)
        x, y = self.get_x(), self.get_y()
        self.set_fill_color(*background)
        self.rect(x, y, self.epw, height, style="F")
        self.set_fill_color(*bar)
        self.rect(x, y, 1.2, height, style="F")
        self.set_xy(x + 4, y + 1.5)
        self._write(text, line, w=self.epw - 7)
        self.set_y(y + height + 1.5)

    def _draw_bullets(self, block: Bullets) -> None:
        for item in block.items:
            self._font(9.5)
            self._keep(self._lines(item, self.epw - 5) * _LINE)
            self.cell(5, _LINE, "•")
            self._write(item, w=self.epw - 5)
            self.ln(0.8)
        self.ln(1)

    def _draw_equations(self, block: Equations) -> None:
        self._keep(7 * len(block.rows))
        for number, equation, words in block.rows:
            self._font(9, colour=_GREY)
            self.cell(12, 6.5, number)
            self._font(10.5)
            self.cell(105, 6.5, equation)
            self._font(8.5, colour=_GREY)
            self.cell(0, 6.5, words, new_x="LMARGIN", new_y="NEXT")
        self.ln(2)

    def _draw_code(self, block: Code) -> None:
        self._font(9, family="Mono")
        self.set_fill_color(244, 244, 244)
        self._write(block.text, 5.5, fill=True, padding=2)
        self.ln(2)

    def _draw_picture(self, block: Picture) -> None:
        width, height = self._picture_size(block)
        self._font(8.5, colour=_GREY)
        caption = self._lines(block.caption, self.epw) * 4.2
        self._keep(height + caption + 2)
        x = self.l_margin + (self.epw - width) / 2
        self.image(block.png, x=x, w=width, h=height, alt_text=block.alt)
        self.ln(1.5)
        self._write(block.caption, 4.2)
        self.ln(4)

    def _picture_size(self, block: Picture) -> tuple[float, float]:
        """Return width and height in millimetres: the block's width unless the page is smaller."""
        from PIL import Image

        with Image.open(block.png) as image:
            ratio = image.height / image.width
        width = min(block.width, self.epw, (self.eph - 30) / ratio)
        return width, width * ratio

    def _draw_table(self, block: Table) -> None:
        size = self._table_size(block)
        line = size * 0.53
        widths = self._column_widths(block, size)
        self._keep(self._height_together(block))
        self._font(8.5, colour=_GREY)
        self.ln(1)
        self._write(block.full_caption, 4.2)
        self.ln(1)
        self._font(size)
        self.set_draw_color(*_RULE)
        self.set_fill_color(255, 255, 255)  # cells without a style take the last colour
        alignments = ["LEFT" if i < block.text_columns else "RIGHT" for i in range(len(widths))]
        with self.table(
            align="LEFT",
            width=min(sum(widths), self.epw),
            col_widths=widths,
            text_align=tuple(alignments),
            borders_layout="HORIZONTAL_LINES",
            line_height=line,
            padding=(0.7, 1.2),
            headings_style=FontFace(emphasis="BOLD", fill_color=(244, 244, 244)),
        ) as table:
            table.row(block.header)
            for number, cells in enumerate(block.rows):
                strong = FontFace(emphasis="BOLD") if number == block.strong else None
                table.row(cells, style=strong)
        self.ln(4)

    def _height_together(self, block: Table) -> float:
        """Return the height of a table that must stand on one page.

        A table that fits a page is not split; a longer one keeps three rows below its heading.
        """
        line = self._table_size(block) * 0.53
        self._font(8.5, colour=_GREY)
        caption = self._lines(block.full_caption, self.epw) * 4.2
        whole = (len(block.rows) + 1) * (line + 1.4) + caption + 2
        return whole if whole < self.eph * 0.6 else caption + 25

    def _natural_widths(self, block: Table, size: float, *, broken: bool = False) -> list[float]:
        """Return the width of each column's longest cell, set in bold, with its padding.

        The words of the header count one by one if it may be `broken` into lines.
        """
        self._font(size, "B")
        header = [name.split() if broken else [name] for name in block.header]
        columns = zip(header, *block.rows, strict=True)
        return [max(map(self.get_string_width, [*top, *cells])) + 3.2 for top, *cells in columns]

    def _table_size(self, block: Table) -> float:
        """Return the largest size of type, in points, that lets the table fit the page's width."""
        for size in (9.0, 8.5, 8.0, 7.5, 7.0, 6.5):
            if sum(self._natural_widths(block, size)) <= self.epw:
                return size
        return 7.5 if block.text_columns == len(block.header) else 6.5

    def _column_widths(self, block: Table, size: float) -> list[float]:
        """Return widths that fill at most the page; the widest columns become narrower."""
        widths = self._natural_widths(block, size)
        if sum(widths) > self.epw:
            widths = self._natural_widths(block, size, broken=True)
        room = self.epw
        for columns, width in zip(range(len(widths), 0, -1), sorted(widths), strict=True):
            share = room / columns
            if width > share:
                return [min(width, share) for width in widths]
            room -= width
        return widths
