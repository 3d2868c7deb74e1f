"""What students hand in: a file, a notebook, a folder or a zip, laid out in a folder of its own."""

import ast
import json
import re
import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onelayer.errors import InputError, printable
from onelayer.model.doctor.roles import ROLES
from onelayer.plain_values import parse_json, read_text

CODE = (".py", ".ipynb")
_MOST_FILES, _MOST_BYTES = 500, 2**26
_DEEPEST = 30  # folders in each other; what removes them again calls itself for each
_MOST_CODE = 2**18  # characters, which the grader parses itself, with no limit of time
_ODD = r'[\\:*?"<>|\x00-\x1f]'  # in names: other systems refuse them


@dataclass(frozen=True)
class Submission:
    """What was handed in: the folder with its files, and in it the file of the code."""

    folder: Path
    code: str


def list_submissions(folder: Path) -> list[Path]:
    """Return what was handed in, one entry a student, in the order of their names.

    Raises
    ------
    InputError
        If the folder is none, or holds nothing that can be a submission.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder of submissions")
    found = [path for path in folder.iterdir() if _may_be_one(path)]
    by_student: dict[str, Path] = {}
    for path in sorted(found):
        if (other := by_student.setdefault(student_of(path), path)) != path:
            raise InputError(f"{folder}: {other.name} and {path.name} are of one student")
    if not found:
        raise InputError(f"{folder}: holds no .py, .ipynb, .zip or folder, one a student")
    return list(by_student.values())


def _may_be_one(path: Path) -> bool:
    if path.name.startswith((".", "__")):
        return False
    return path.suffix.lower() in (*CODE, ".zip") or path.is_dir()


def student_of(path: Path) -> str:
    """Return the id of the student who handed this in: the name without its ending."""
    return printable(path.name if path.is_dir() else path.stem)


def student_in(metadata: Path) -> str:
    """Return who handed in, told by the metadata of Gradescope or PrairieLearn.

    Raises
    ------
    InputError
        If the file is neither.
    """
    try:
        found = parse_json(read_text(metadata))
    except InputError as error:
        raise InputError(f"{metadata}: {error}") from error
    match found:
        case {"users": [{"id": int() | str() as student}, *_]}:  # Gradescope
            return str(student)
        case {"params": {"student": str(student)}}:  # PrairieLearn, where server.py sets it
            return student
        case {"variant_seed": int() | str() as seed}:
            return str(seed)
    raise InputError(
        f"{metadata}: says not who handed in; expected users[0].id of Gradescope, or "
        "params.student or variant_seed of PrairieLearn"
    )


def take_in(path: Path, place: Path) -> Submission:
    """Copy what was handed in to the empty folder `place`, and find the code in it.

    Raises
    ------
    InputError
        If it holds a link or a path that leads out, is a zip that is damaged, locked or too large,
        or has no Python in it: says which file.
    """
    if path.is_symlink():
        raise InputError(f"{path.name}: a link; expected a file or folder of its own")
    if path.is_dir():
        _copy_folder(path, place)
    elif path.suffix.lower() == ".zip":
        _unpack(path, place)
    else:
        _check_total(path.name, 1, path.stat().st_size)
        shutil.copyfile(path, place / f"{path.stem}{path.suffix.lower()}")
    home = _descend(place)
    code = _find_code(home)
    if (length := len(_text_of(home / code))) > _MOST_CODE:
        raise InputError(f"{code}: {length:,} characters of code; expected at most {_MOST_CODE:,}")
    return Submission(home, code)


def _copy_folder(folder: Path, place: Path) -> None:
    files = [each for each in sorted(folder.rglob("*")) if not _is_litter(each.relative_to(folder))]
    for path in files:
        if path.is_symlink():
            raise InputError(f"{path.relative_to(folder)}: a link; expected a file of its own")
    files = [path for path in files if path.is_file()]
    _check_total(folder.name, len(files), sum(path.stat().st_size for path in files))
    for path in files:
        _check_depth(path.relative_to(folder))
        target = place / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _unpack(path: Path, place: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            members = [each for each in members if not _is_litter(PurePosixPath(each.filename))]
            _check_total(path.name, len(members), sum(each.file_size for each in members))
            for member in members:
                _extract(archive, member, place)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{path.name}: a zip that cannot be unpacked: {error}") from error


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path) -> None:
    name = member.filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or re.search(_ODD, name):
        raise InputError(f"{member.filename!r:.80}: a path that leads out of the zip")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"{member.filename!r:.80}: a link; expected a file of its own")
    _check_depth(PurePosixPath(name))
    target = place.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as packed, target.open("wb") as file:
        left = member.file_size  # what the zip promises and _check_total has seen
        while left > 0 and (block := packed.read(min(left, 2**20))):
            file.write(block)
            left -= len(block)


def _is_litter(path: Path | PurePosixPath) -> bool:
    return any(
        part.startswith((".", "__MACOSX", "__pycache__")) and part != ".." for part in path.parts
    )


def _check_total(name: str, files: int, size: int) -> None:
    if files > _MOST_FILES or size > _MOST_BYTES:
        raise InputError(
            f"{name}: {files:,} files of {size:,} bytes; expected at most {_MOST_FILES:,} files of "
            f"{_MOST_BYTES:,} bytes"
        )


def _check_depth(path: Path | PurePosixPath) -> None:
    if (depth := len(path.parts) - 1) > _DEEPEST:
        raise InputError(f"{str(path)[:40]}…: {depth} folders deep; expected at most {_DEEPEST}")


def _descend(place: Path) -> Path:
    """Return the folder that holds the files, where a zip has one around them."""
    inside = list(place.iterdir())
    while len(inside) == 1 and inside[0].is_dir():
        place = inside[0]
        inside = list(place.iterdir())
    return place


def _find_code(folder: Path) -> str:
    """Return the name of the file that defines most of what is looked for."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in CODE]
    if not files:
        named = ", ".join(path.name for path in sorted(folder.iterdir())[:5]) or "nothing"
        raise InputError(f"no .py or .ipynb file; found {named}")
    known = {path: len([name for name in defined_in(path) if _is_known(name)]) for path in files}
    best = max(files, key=lambda path: known[path])
    return best.relative_to(folder).as_posix()


def _is_known(name: str) -> bool:
    plain = name.lower().replace("_", "")
    return any(re.fullmatch(role.names, plain) for role in ROLES.values())


def source_of(path: Path) -> str:
    """Return the Python of a file, of a notebook that of its cells; empty if it is too long."""
    text = _text_of(path)
    return text if len(text) <= _MOST_CODE else ""


def _text_of(path: Path) -> str:
    text = path.read_bytes().decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    if path.suffix.lower() != ".ipynb":
        return text
    try:
        cells = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
    return "\n".join(re.sub(r"^\s*[%!].*$", "", each, flags=re.MULTILINE) for each in sources)


def defined_in(path: Path) -> list[str]:
    """Return the names of the functions at the top of a file, none if it is no Python."""
    try:
        tree = ast.parse(source_of(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
