"""What is handed out: text, notebook, starter code, public checks, data, course.toml."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from onelayer.errors import InputError
from onelayer.storage import atomic_file, output_folder
from onelayer.teaching.band import Band, band_of
from onelayer.teaching.course import CourseFolder
from onelayer.teaching.variants import (
    OpenCourse,
    Variant,
    load_base,
    make_secret,
    read_secret,
)

COURSE = "course.toml"
_TEMPLATES = Path(__file__).parent / "templates"
_COPIED = ("starter.py", "check_public.py")
_SIZES = {"digits": {"rows": 1000, "epochs": 40, "batch_size": 50}}
_USUAL = {"rows": 2000, "epochs": 40, "batch_size": 100}


def make_course(path: Path, dataset: str) -> CourseFolder:
    """Write a new course to the folder `path`, and its secret to the folder `path`.teacher.

    Raises
    ------
    InputError
        If one of them is there already, or the data set cannot be had.
    """
    made = CourseFolder(path / COURSE)
    for taken in (path, made.own):
        if taken.exists():
            raise InputError(f"{taken}: exists already; choose another name for the course")
    sizes = _SIZES.get(dataset, _USUAL)
    text = render(COURSE, dataset=json.dumps(dataset)[1:-1], **sizes)
    with output_folder(path) as new:
        (new / COURSE).write_text(text, "utf-8")
        for name in _COPIED:
            shutil.copyfile(_TEMPLATES / f"{name}.in", new / name)
        course = CourseFolder(new / COURSE).load()
        base = load_base(course)
        make_secret(made.secret_file)
        opened = OpenCourse(made, course, base, read_secret(made))
        _write(new, opened, opened.variant(""), None)
    return made


def hand_out(opened: OpenCourse, student: str, out: Path) -> None:
    """Write a student's own copy of the course to the folder `out`, with the band of their own."""
    variant = opened.variant(student)
    with output_folder(out) as new:
        for name in _COPIED:
            shutil.copyfile(opened.folder.folder / name, new / name)
        _write(new, opened, variant, band_of(opened, variant))


def _write(new: Path, opened: OpenCourse, variant: Variant, band: Band | None) -> None:
    data = opened.data(variant)
    text = _text(opened, variant, band)
    (new / "assignment.md").write_text(text, "utf-8")
    _render_notebook(new)
    arrays = {"class_names": np.array(data.class_names)}
    for name, split in data.splits.items():
        arrays |= {f"X_{name}": np.asarray(split.X), f"y_{name}": np.asarray(split.y)}
    np.savez_compressed(new / "data.npz", allow_pickle=False, **arrays)


def _text(opened: OpenCourse, variant: Variant, band: Band | None) -> str:
    return render(
        "assignment.md",
        course=opened.course,
        data=opened.data(variant),
        variant=variant,
        band=band,
    )


def write_band(opened: OpenCourse, band: Band) -> Path:
    """Put the band into the text that is handed out, and into its notebook; return the text's path.

    Raises
    ------
    InputError
        If the text has no place for it.
    """
    path = opened.folder.folder / "assignment.md"
    between = re.compile("<!-- band -->.*?<!-- /band -->", re.DOTALL)
    text = path.read_text("utf-8")
    new_part = between.search(_text(opened, opened.variant(""), band))
    if new_part is None or not between.search(text):
        raise InputError(f"{path}: has no lines <!-- band --> and <!-- /band --> to write between")
    with atomic_file(path) as new:
        new.write_text(between.sub(lambda _: new_part[0], text, count=1), "utf-8")
    _render_notebook(opened.folder.folder)
    return path


def _render_notebook(folder: Path) -> None:
    """Write assignment.ipynb: a cell for each part of the text, then the starter code's."""
    text = (folder / "assignment.md").read_text("utf-8")
    code = (folder / "starter.py").read_text("utf-8")
    cells = [cell_of("markdown", part) for part in re.split(r"\n(?=## )", text.strip())]
    cells += [cell_of("code", part) for part in parts_of(code)]
    write_notebook(cells, folder / "assignment.ipynb")


def write_notebook(cells: Sequence[dict[str, Any]], path: Path) -> None:
    """Write cells as a notebook of the format 4.5."""
    notebook = {
        "cells": [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)],
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    with atomic_file(path) as new:
        new.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), "utf-8")


def parts_of(code: str) -> Iterator[str]:
    """Yield the parts of a file between two empty lines."""
    return (part.strip() for part in re.split(r"\n\n\n", code) if part.strip())


def cell_of(kind: str, source: str) -> dict[str, Any]:
    """Return a cell of a notebook."""
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def render(name: str, **facts: Any) -> str:
    """Return a template of templates/ with these facts."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, TOML: no page
    )
    return environment.get_template(name).render(**facts)
