"""Submissions that are nearly one text, by the fingerprints of their tokens: a hint, no proof.

Winnowing (Schleimer, Wilkerson and Aiken 2003): of every _WINDOW runs of _RUN tokens, the one of
the least hash stands for all. Names, numbers and comments count for nothing, so that renaming
hides nothing; what half of the students share, as the starter code, is left out.
"""

import io
import itertools
import keyword
import tokenize
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_RUN, _WINDOW = 12, 8
_ALIKE, _FEWEST = 0.8, 12  # share and number of fingerprints
_COMMON = 5  # students who may share a fingerprint that still tells
_SKIPPED = (
    tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER, tokenize.INDENT,
    tokenize.DEDENT,
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two students, and the share of the shorter text's fingerprints that the other has."""

    first: str
    second: str
    share: float


def fingerprints(source: str) -> frozenset[int]:
    """Return the fingerprints of a Python text, as far as it can be read."""
    tokens = list(_kinds(source))
    hashes = [
        zlib.crc32("\0".join(tokens[at : at + _RUN]).encode())
        for at in range(len(tokens) - _RUN + 1)
    ]
    windows = (hashes[at : at + _WINDOW] for at in range(max(len(hashes) - _WINDOW + 1, 1)))
    return frozenset(min(window) for window in windows if window)


def _kinds(source: str) -> Iterator[str]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                yield "name"
            elif token.type in (tokenize.NUMBER, tokenize.STRING):
                yield tokenize.tok_name[token.type]
            elif token.type not in _SKIPPED:
                yield token.string
    except (tokenize.TokenError, SyntaxError):
        return


def similar_pairs(marks: Mapping[str, frozenset[int]]) -> list[Pair]:
    """Return the pairs of students whose texts are nearly one, the most alike first."""
    counts = Counter(itertools.chain.from_iterable(marks.values()))
    often = {mark for mark, count in counts.items() if count > max(_COMMON, len(marks) / 2)}
    own = {student: each - often for student, each in marks.items()}
    own = {student: each for student, each in own.items() if len(each) >= _FEWEST}
    pairs = []
    for (first, a), (second, b) in itertools.combinations(own.items(), 2):
        share = len(a & b) / min(len(a), len(b))
        if share >= _ALIKE:
            pairs.append(Pair(first, second, share))
    return sorted(pairs, key=lambda pair: -pair.share)
