"""A class that hands in: right files, planted mistakes, bad files and attacks, in every form.

    python tests/classroom.py FOLDER --students 200

Then `onelayer teach grade COURSE/course.toml FOLDER` grades them. The id of a student ends in the
code of the mistake that was planted, so that what was named can be compared.
"""

import argparse
import io
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests import submissions as planted

HEADING = "accuracy\n"
RIGHT, NONE = "right", "none"
BAD = {
    "sleeps": "import time\ndef ComputeGradients(X, Y, P, W, lam):\n    time.sleep(999)\n",
    "exits": "import os\ndef ComputeGradients(X, Y, P, W, lam):\n    os._exit(0)\n",
    "floods": "def ComputeGradients(X, Y, P, W, lam):\n    while True: print('x' * 999)\n",
    "forges": (
        "import json, os\njson.dump({'score': 100}, open('results.json', 'w'))\n"
        "print('{\"score\": 100}')\ndef ComputeGradients(X, Y, P, W, lam):\n"
        "    for n in range(3, 99):\n        try: os.write(n, b'100 points')\n"
        "        except OSError: pass\n    os._exit(0)\n"
    ),
    "import": "import package_that_is_not_there as p\n"
    + planted.COURSE.replace("G = P - Y", "G = p.slopes(P, Y)"),
    "syntax": "def ComputeGradients(X, Y\n" + planted.COURSE,
    "shapes": planted.COURSE.replace("    return dW, db\n", "    return dW.T[:2], db\n", 1),
    "nothing": "print('hello')\n",
}


def text_of(wrong: planted.Wrong) -> str:
    """Return a whole submission with the mistake; what stands alone joins the right functions."""
    if wrong.source != planted.ALONE:
        return wrong.text
    others = planted.COURSE.replace("ComputeGradients(", "_gradients_of_a_batch(")
    return f"{others}\n{wrong.text}"


def notebook(text: str) -> str:
    cells = ["%matplotlib inline", *text.split("\n\n")]
    made = [{"cell_type": "code", "metadata": {}, "source": cell, "outputs": []} for cell in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def zipped(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def _as_file(place: Path, student: str, files: dict[str, str]) -> None:
    (place / f"{student}.py").write_text(files["code.py"])


def _as_windows_file(place: Path, student: str, files: dict[str, str]) -> None:
    text = files["code.py"].replace("\n", "\r\n")
    (place / f"{student}.py").write_bytes(b"\xef\xbb\xbf" + text.encode())


def _as_notebook(place: Path, student: str, files: dict[str, str]) -> None:
    (place / f"{student}.ipynb").write_text(notebook(files["code.py"]))


def _as_folder(place: Path, student: str, files: dict[str, str]) -> None:
    (place / student).mkdir()
    for name, text in files.items():
        (place / student / name).write_text(text)


def _as_zip(place: Path, student: str, files: dict[str, str]) -> None:
    inside = {f"assignment/{name}": text for name, text in files.items()}
    (place / f"{student}.zip").write_bytes(zipped(inside | {"__MACOSX/._code.py": "?"}))


FORMS: tuple[Callable[[Path, str, dict[str, str]], None], ...] = (
    _as_zip,
    _as_folder,
    _as_file,
    _as_notebook,
    _as_windows_file,
)


def bad_packages(place: Path) -> None:
    """Write what must not be unpacked: ways out, links, a bomb, a damaged file."""
    (place / "escape-none.zip").write_bytes(zipped({"../../escaped.py": planted.COURSE}))
    (place / "bomb-none.zip").write_bytes(zipped({"code.py": "#" * 2**27}))
    (place / "damaged-none.zip").write_bytes(b"PK\x03\x04 this is no zip")
    (place / "linked-none").mkdir()
    (place / "linked-none" / "code.py").symlink_to("/etc/passwd")
    (place / "empty-none").mkdir()
    (place / "empty-none" / "report.txt").write_text("see attached")


def class_of(students: int) -> Iterator[tuple[str, str]]:
    """Yield an id and the code of each student: every mistake, every bad file, right ones."""
    wrong = [*planted.GRADIENTS, *planted.OTHERS, *planted.OWN]
    made = [(f"{n:03d}-{each.code}", text_of(each)) for n, each in enumerate(wrong)]
    made += [(f"{name}-{NONE}", text) for name, text in BAD.items()]
    renamed = planted.COURSE.replace("dW", "grad_weights").replace("lam", "reg")
    right = [planted.COURSE, planted.COURSE.replace("softmax(", "my_softmax("), renamed]
    while len(made) < students:
        made.append((f"{len(made):03d}-{RIGHT}", right[len(made) % len(right)]))
    yield from made[:students]


def make_class(place: Path, students: int, figures: str = "") -> None:
    """Write the submissions of a class; `figures` are what all of them claim, a line each."""
    place.mkdir(parents=True)
    bad_packages(place)
    for number, (student, text) in enumerate(class_of(students - len(list(place.iterdir())))):
        files = {"code.py": text} | ({"accuracies.csv": HEADING + figures} if figures else {})
        FORMS[number % len(FORMS)](place, student, files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--students", type=int, default=200)
    asked = parser.parse_args()
    shutil.rmtree(asked.folder, ignore_errors=True)
    make_class(asked.folder, asked.students)
