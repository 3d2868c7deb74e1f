"""The most likely classes of unlabelled rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.data.columns import Tell, ignore
from onelayer.data.formats.registry import remembered
from onelayer.data.unlabelled import expand_pictures, read_unlabelled
from onelayer.errors import InputError
from onelayer.training.classifier import Classifier


@dataclass(frozen=True)
class Ranking:
    """The most likely classes of one row of a file, best first, and the value of each.

    Values are probabilities, or scores if the model has no probabilities.
    """

    file: str
    row: int
    classes: tuple[str, ...]
    values: tuple[float, ...]


def rank_files(
    model: Classifier, files: Iterable[str], top: int = 1, *, tell: Tell = ignore, **options: Any
) -> Iterator[Ranking]:
    """Yield the `top` classes (at most K) of every row of `files`, read block by block.

    A folder of pictures stands for its pictures, each under its own name. `tell` and `options` are
    those of read_unlabelled; without an option, tokens are pooled as they were for training.

    Raises
    ------
    InputError
        If a file cannot be read as samples of this model; names it and the row.
    """
    for source in files:
        reading = remembered(Path(source), model.pool) | options
        pictures, start = expand_pictures(source), 0
        blocks = read_unlabelled(
            source,
            model.n_features,
            model.image_shape,
            model.full_scale,
            model.columns,
            tell,
            **reading,
        )
        for X in blocks:
            file, first = (source, start) if pictures == [source] else (pictures[start], 0)
            try:
                S = model.scores(X, first)
            except InputError as error:
                raise InputError(f"{file}: {error}") from error
            values = S if model.link is None else model.link.probabilities(S)
            order = np.argsort(-S, axis=1, kind="stable")[:, :top]
            ranked = np.take_along_axis(values, order, axis=1).tolist()
            for row, (classes, shares) in enumerate(zip(order, ranked, strict=True), first):
                names = tuple(model.class_names[k] for k in classes)
                yield Ranking(file, row, names, tuple(shares))
            start += len(X)
