"""The data to evaluate a model on: that of its output folder, with its splits, or any other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from onelayer.data.catalog import is_path, load_dataset
from onelayer.data.dataset import Dataset
from onelayer.data.formats.registry import remembered
from onelayer.errors import InputError
from onelayer.evaluation.run_folder import find_folder
from onelayer.experiments.experiment import load_data
from onelayer.experiments.spec import Spec, load_spec
from onelayer.training.classifier import Classifier


def load_evaluation_data(
    path: Path,
    model: Classifier,
    dataset: str | None,
    split: str,
    *,
    source: Path | None = None,
    **options: Any,
) -> Dataset:
    """Return the data set to evaluate the `model` in `path` on.

    Without `dataset`, or if it is the training data, it is read and split by the spec in the
    model's output folder, so that `split` has the same rows as in training. Else it is
    load_dataset(dataset, **options), with the pooling of the model; a notice says so if its rows
    may not be those of training.

    Raises
    ------
    InputError
        If there is no spec and no `dataset`, or the files of the spec have changed.
    """
    spec = _find_spec(path)
    if dataset is None:
        if spec is None:
            raise InputError(f"{path}: no spec.json says what it was trained on; name a data set")
        dataset = spec.data.dataset
    if spec and _same(dataset, spec.data.dataset) and options in ({}, spec.data.given):
        data = load_data(spec.data, source)
        if model.digests and data.digests != model.digests:
            raise InputError(
                f"{spec.data.dataset}: not what the model in {path} was trained on, by the sha256 "
                "of its files, so its splits are unknown; a copy by another name gets new ones"
            )
        return data
    if is_path(dataset):
        options |= {"like": model.columns} if model.columns else {}
        options = remembered(Path(dataset), model.pool) | options
    data = load_dataset(dataset, source=source, **options)
    if split != "test" and data.name == model.dataset:
        words = f"these are the {split} samples of {data.name} by default"
        return replace(data, notice=f"note: {words}; the model may have had others in training")
    return data


def _find_spec(path: Path) -> Spec | None:
    """Return the spec of the output folder at or around `path`, if there is one."""
    folder = find_folder(path)
    return load_spec(str(folder.spec_file)) if folder and folder.spec_file.is_file() else None


def _same(one: str, other: str) -> bool:
    """Return whether two names or paths mean the same data set."""
    paths = is_path(one) and is_path(other)
    return one == other or (paths and Path(one).resolve() == Path(other).resolve())
