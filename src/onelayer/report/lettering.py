"""Names in letters that figures and PDF can draw: others are transliterated, and names differ."""

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from anyascii import anyascii

from onelayer.data.contents import LONGEST_NAME, as_seen
from onelayer.report.blocks import Column, Table
from onelayer.report.labels import one_line, shortened

REGULAR, BOLD, MONO = "", "-Bold", "Mono"  # styles of DejaVu Sans
NAMES = 100  # rows of a legend


def font_file(style: str) -> Path:
    """Return the file of DejaVu Sans in this style.

    It comes with matplotlib, so a report looks the same on every machine.
    """
    import matplotlib

    return Path(matplotlib.get_data_path(), "fonts", "ttf", f"DejaVuSans{style}.ttf")


def legible(text: str, can_set: Callable[[str], bool] | None = None) -> str:
    """Return the text with ASCII letters in place of each character that `can_set` refuses.

    They are its transliteration, or else its escape. The default is a test for characters that
    DejaVu Sans can draw alone: figures and PDF cannot join letters, place marks or write to the
    left.

    Examples
    --------
    >>> legible("\N{CJK UNIFIED IDEOGRAPH-732B} = caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    'Mao = café'
    """
    if text.isascii() and text.isprintable():
        return text
    sets = _dejavu_sets if can_set is None else can_set
    composed = unicodedata.normalize("NFC", text)
    written = "".join(c if sets(c) else _in_ascii(c) for c in composed)
    return written if written.strip() else "".join(map(_escape, text))


def told_apart(names: Sequence[str], letters: int = LONGEST_NAME) -> tuple[str, ...]:
    """Return legible names, on one line and cut to `letters` letters, no two of them equal.

    They are cut at the end or, if two would then be equal, before it: see cut_apart. If two are
    still equal, each begins with its number from 0, which is that of the class.

    Examples
    --------
    >>> told_apart(["layer.1.weights", "layer.2.weights"], 9)
    ('layer.1.…', 'layer.2.…')
    >>> told_apart(["weights of layer 1", "weights of layer 2"], 9)
    ('weig…er 1', 'weig…er 2')
    >>> told_apart(["\N{CJK UNIFIED IDEOGRAPH-732B}", "\N{CJK UNIFIED IDEOGRAPH-6BDB}"])
    ('0: Mao', '1: Mao')
    """
    written = [one_line(legible(name)) for name in names]
    short = tuple(shortened(name, letters) for name in written)
    if not _differ(short):
        short = cut_apart(written, letters) or tuple(
            shortened(f"{k}: {name}", letters) for k, name in enumerate(written)
        )
    return short


def cut_apart(names: Sequence[str], letters: int) -> tuple[str, ...] | None:
    """Return the names cut to `letters` letters, no two of them equal, or None if that fails.

    All are cut in the middle, or else at the place next to it that lets them differ.

    Examples
    --------
    >>> cut_apart(["weights of layer 1", "weights of layer 2"], 9)
    ('weig…er 1', 'weig…er 2')
    >>> cut_apart(["block_1_mean_of_tokens", "block_2_mean_of_tokens"], 11)
    ('block_1…ens', 'block_2…ens')
    """
    for start in sorted(range(1, letters - 1), key=lambda place: abs(place - letters // 2)):
        short = tuple(
            name if len(name) <= letters else f"{name[:start]}…{name[start + 1 - letters :]}"
            for name in names
        )
        if _differ(short):
            return short
    return None


def _differ(names: Sequence[str]) -> bool:
    return len(set(map(as_seen, names))) == len(names)


def legend(names: Sequence[str], *, codes: bool = False) -> Table | None:
    """Return the full name of each name of `told_apart`, if any of them differs.

    With `codes` names are written with their code points, for readers whose fonts lack them.
    """
    rows = [
        (written, ascii(name)[1:-1] if codes else name)
        for written, name in zip(told_apart(names), names, strict=True)
        if written != one_line(unicodedata.normalize("NFC", name))
    ]
    if not rows:
        return None
    left_out = f" {len(rows) - NAMES:,} more are left out." if len(rows) > NAMES else ""
    written, meant = zip(*rows[:NAMES], strict=True)
    return Table(
        "names",
        "Names as figures and PDF write them, whose fonts lack the letters of these scripts, and "
        f"{'the code points of ' if codes else ''}the names themselves.{left_out}",
        (Column("in figures", "words", written), Column("name", "words", meant)),
    )


def _in_ascii(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cc":
        return _escape(character)
    # A mark, a joiner, a colour of the skin, or a silent letter such as Arabic's alef is left out.
    unspoken = kind.startswith("M") or kind in ("Cf", "Sk", "Lo")
    return anyascii(character) or ("" if unspoken else _escape(character))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _dejavu_sets(character: str) -> bool:
    return character == "\n" or character in _alone()


@cache
def _alone() -> frozenset[str]:
    """Return the characters in both weights of DejaVu Sans that can be drawn alone."""
    from matplotlib.ft2font import FT2Font

    regular, bold = (FT2Font(str(font_file(style))).get_charmap() for style in (REGULAR, BOLD))
    return frozenset(
        character
        for character in map(chr, regular.keys() & bold.keys())
        if unicodedata.category(character)[0] not in "CM"
        and unicodedata.bidirectional(character) not in ("R", "AL")
    )
