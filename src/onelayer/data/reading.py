"""Options for reading files and folders; most belong to some of the formats."""

from dataclasses import dataclass
from typing import Any

from onelayer.data.pooling import read_pool
from onelayer.errors import InputError
from onelayer.option import Checked, option, options_of

OF_ROWS = ("groups", "split_file")  # options of every format
_LONGEST_SIDE = 10_000  # pixels


def _size(value: Any) -> tuple[int, int]:
    """Return (height, width) of two whole numbers or of a text like 32,32."""
    sides = value.split(",") if isinstance(value, str) else value
    try:
        height, width = (int(side) if isinstance(side, str) else side for side in sides)
        if all(type(s) is int and 1 <= s <= _LONGEST_SIDE for s in (height, width)):
            return height, width
    except (TypeError, ValueError):
        pass
    raise InputError(
        f"resize is {value!r:.60}; expected HEIGHT,WIDTH like 32,32, from 1 to {_LONGEST_SIDE:,}"
    )


@dataclass(frozen=True)
class Reading(Checked):
    """The options of load_dataset that belong to formats; a format refuses those of others."""

    resize: tuple[int, int] | None = option(
        None, "Resize all pictures of a folder or table to HEIGHT,WIDTH.", kind=tuple, parse=_size
    )
    coarse: bool = option(False, "CIFAR-100's 20 groups as classes.")
    label: str | None = option(
        None,
        "Column that holds the labels (default: label, class, target or y, else the last); several "
        "columns of 0 and 1, as a,b,c or label_*, for probe.",
        kind=str,
    )
    feature_set: str | None = option(
        None,
        "Array, file or column of features, where there are several: layer3 of layer1.npy, …",
        kind=str,
    )
    pool: str | None = option(
        None,
        "Pooling of T vectors a sample (N, T, D), as tokens: mean, cls (the first), last, index:I "
        "or none.",
        kind=str,
        parse=read_pool,
    )
    groups: str | None = option(
        None,
        "File, or array beside the features, with the group of each row; no group is split.",
        kind=str,
    )
    split_file: str | None = option(
        None,
        "File, or array beside the features, with train, validation or test (0, 1, 2) of each row.",
        kind=str,
    )

    @property
    def given(self) -> dict[str, Any]:
        """The options that are not at their defaults."""
        values = {name: getattr(self, name) for name in options_of(Reading)}
        return {name: value for name, value in values.items() if value}
