"""A folder of results: its files, the run they belong to, and the count of its test evaluations."""

import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from onelayer.arguments import checked
from onelayer.data.files import by_number
from onelayer.errors import InputError
from onelayer.evaluation.ablation import ABLATION, AblationRow, write_ablation
from onelayer.evaluation.multilabel import LABEL_PROBING, LabelProbing
from onelayer.evaluation.probing import PROBING, Probing
from onelayer.evaluation.results import RESULTS, Results, write_checks, write_history
from onelayer.evaluation.task import TASK, TASK_FILE, Task
from onelayer.evaluation.test_log import TEST_LOG, TestEvaluation, warn_of_second_look
from onelayer.records import Kind
from onelayer.storage import added_files, output_folder, read_manifest
from onelayer.training.classifier import MODEL, MODEL_FILE, Classifier, load_model, model_of
from onelayer.training.run import RUN, RUN_FILE, RUN_FOLDER, Run, load_run

T = TypeVar("T")

REPORT_PAGE, PROBES_PAGE, _EXPLORE_PAGE = "report.html", "probe.html", "explore.html"
_MODELS = "models"  # of probes
_RESULTS, _PROBING, _ABLATION = "results.safetensors", "probe.json", "ablation.json"
_LABEL_PROBING = "label_probes.json"
_TEST_LOG, _SPEC, _OPTIMA = "test_evaluations.json", "spec.json", "optima.json"


@dataclass(frozen=True)
class RunFolder:
    """The folder `path` of one run, whose records all carry `run_id`.

    A file is refused if its digest is not that in files.json, and a record if it is of another run:
    so a report never mixes numbers of two runs. `place` is the final path of the folder.
    """

    path: Path
    run_id: str = ""
    place: Path | None = None

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Return the folder at `path`, whether or not it exists."""
        manifest = read_manifest(path)
        return cls(path, manifest.run_id if manifest else "")

    @classmethod
    @contextmanager
    def create(cls, path: Path, *, force: bool = False) -> Iterator["RunFolder"]:
        """Yield the folder of a new run, which appears at `path` as a whole: see output_folder.

        It takes over the count of test evaluations and the least costs from the run at `path`.
        """
        run_id = uuid.uuid4().hex
        with output_folder(path, force=force, run_id=run_id) as new:
            earlier, folder = cls.open(path), cls(new, run_id, path)
            folder._save(TEST_LOG, earlier.looks(), _TEST_LOG)
            if earlier.optima_file.is_file():
                shutil.copy(earlier.optima_file, new)
            yield folder

    @contextmanager
    def extend(self) -> Iterator["RunFolder"]:
        """Yield an empty folder whose files join those of this run: see added_files."""
        with added_files(self.path) as new:
            yield RunFolder(new, self.run_id)

    @contextmanager
    def copy(self, path: Path, *, force: bool = False) -> Iterator["RunFolder"]:
        """Yield a copy of this run, which appears at `path` as a whole: see output_folder."""
        manifest = read_manifest(self.path)
        with output_folder(path, force=force, run_id=self.run_id) as new:
            for file in self.path.rglob("*"):
                name = file.relative_to(self.path)
                if file.is_file() and (manifest is None or name.as_posix() in manifest.files):
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, new / name)
            yield RunFolder(new, self.run_id)

    def variant(self, name: str) -> "RunFolder":
        """Return the folder of the variant `name`, inside this one."""
        return RunFolder(self.path / "variants" / name, self.run_id)

    @property
    def spec_file(self) -> Path:
        """The file of the spec of the run."""
        return self.path / _SPEC

    @property
    def optima_file(self) -> Path:
        """The file of the least costs so far, for optima_of."""
        return self.path / _OPTIMA

    @property
    def page(self) -> Path:
        """The file of the report."""
        return self.path / (PROBES_PAGE if self.has_probes else REPORT_PAGE)

    @property
    def explorable_page(self) -> Path:
        """The file of the page to explore the run in a browser."""
        return self.path / _EXPLORE_PAGE

    @property
    def has_results(self) -> bool:
        """Whether the folder holds an experiment."""
        return (self.path / _RESULTS).is_file()

    @property
    def has_probes(self) -> bool:
        """Whether the folder holds probes."""
        return any((self.path / name).is_file() for name in (_PROBING, _LABEL_PROBING))

    def save_results(self, results: Results) -> None:
        """Write the results, to be read by `results`, and tables for other programs."""
        runs = {RUN_FOLDER: results.run, **_numbered(results.repeats)}
        for name, run in runs.items():
            self._save(RUN, run, f"{name}/{RUN_FILE}")
        self._save(RESULTS, results, _RESULTS)
        write_history(results.run, self.path / "history.csv")
        write_checks(results.checks, results.engine_checks, self.path)

    def results(self) -> Results:
        """Read the results that save_results wrote.

        Raises
        ------
        InputError
            If a file is missing, damaged or of another run; names it.
        """
        if not self.has_results:
            if self.has_probes:
                raise InputError(f"{self.path}: holds probes; expected the folder of a training")
            raise InputError(f"{self.path}: holds no results; expected a folder of onelayer")
        names = [f"{name}/{RUN_FILE}" for name in (RUN_FOLDER, *self._repeats())]
        run, *repeats = (self._load(RUN, name) for name in names)
        return self._load(RESULTS, _RESULTS, run=run, repeats=tuple(repeats))

    def save_model(self, run: Run, number: int) -> None:
        """Write model `number` of the run as a file of its own, nothing if it was stopped."""
        if not run.stopped[number]:
            self._save(MODEL, model_of(run, number), MODEL_FILE)

    def _repeats(self) -> Iterator[str]:
        number = 1
        while (self.path / f"repeats/{number}").is_dir():
            yield f"repeats/{number}"
            number += 1

    def save_probes(self, probing: Probing | LabelProbing) -> None:
        """Write the probes, to be read by `probes`."""
        if isinstance(probing, LabelProbing):
            self._save(LABEL_PROBING, probing, _LABEL_PROBING)
        else:
            self._save(PROBING, probing, _PROBING)

    def save_task(self, task: Task) -> None:
        """Write the request and its call, to be read by `task`; nothing for data in memory."""
        if task.command:
            self._save(TASK, task, TASK_FILE)

    def task(self) -> Task:
        """Read the request that save_task wrote; raises InputError as `results` does."""
        if not (self.path / TASK_FILE).is_file():
            raise InputError(
                f"{self.path}: does not say how it was made ({TASK_FILE}): it was probed from "
                "Python with data in memory, or by an earlier version"
            )
        return self._load(TASK, TASK_FILE)

    def save_probe(self, name: str, model: Classifier) -> None:
        """Write the model of a feature set as a file of its own."""
        place = len(list((self.path / _MODELS).glob("*"))) + 1
        self._save(MODEL, model, f"{_MODELS}/{file_of_set(place, name)}")

    def probe_models(self) -> list[Classifier]:
        """Read the models of all feature sets, or of each of their labels, as they were written."""
        names = [path.name for path in (self.path / _MODELS).glob("*.safetensors")]
        return [self._load(MODEL, f"{_MODELS}/{name}") for name in sorted(names, key=by_number)]

    def probe_model(self, number: int | None) -> Classifier:
        """Read the model of feature set `number`, or of that with the best validation accuracy."""
        probing = self.probes()
        if isinstance(probing, LabelProbing):
            raise InputError(
                f"{self.path}: holds a model for each label and feature set; expected the path of "
                f"one of them: {self.path / _MODELS}/*.safetensors"
            )
        if number is None:
            number = probing.preferred
        files = list((self.path / _MODELS).glob(f"{number + 1}-*.safetensors"))
        if not files:
            raise InputError(f"{self.path}: has no model {number} in {_MODELS}")
        return load_model(files[0])

    def probes(self) -> Probing | LabelProbing:
        """Read the probes that save_probes wrote; raises InputError as `results` does."""
        if (self.path / _LABEL_PROBING).is_file():
            return self._load(LABEL_PROBING, _LABEL_PROBING)
        return self._load(PROBING, _PROBING)

    def save_ablation(self, rows: Sequence[AblationRow]) -> None:
        """Write the ablation, to be read by `ablation`, and the same as CSV."""
        self._save(ABLATION, tuple(rows), _ABLATION)
        write_ablation(rows, self.path / "ablation.csv")

    def ablation(self) -> tuple[AblationRow, ...]:
        """Read the ablation that save_ablation wrote, empty if there are no variants."""
        return self._load(ABLATION, _ABLATION) if (self.path / _ABLATION).is_file() else ()

    def looks(self) -> tuple[TestEvaluation, ...]:
        """Return the recorded test evaluations, the looks at the test set; empty without a log."""
        # No check of digest or run: the log grows in place, and from run to run.
        path = self.path / _TEST_LOG
        return TEST_LOG.load(path) if path.is_file() else ()

    def all_looks(self) -> tuple[TestEvaluation, ...]:
        """Return the test evaluations on the same split in neighbouring folders, then those here.

        Neighbours are the folders beside it with the same name but for the number: see
        fresh_folder.
        """
        own = self.looks()
        known = {"", own[-1].split} if own else {""}
        others = (look for folder in self._neighbours() for look in folder.looks())
        return (*sorted((look for look in others if look.split in known), key=_when), *own)

    def _neighbours(self) -> Iterator["RunFolder"]:
        place = Path(os.path.abspath(self.place or self.path))
        stem = _stem(place.name)
        for path in sorted(place.parent.glob(f"{glob.escape(stem)}*")):
            alike = {path.name, _stem(path.name)} & {place.name, stem}
            with suppress(InputError):  # a damaged log counts as empty
                if alike and path != place and RunFolder(path).looks():
                    yield RunFolder(path)

    def add_look(self, models: int, best_accuracy: float, split: str) -> str:
        """Record a test evaluation; return a warning if it was not the first, else "".

        `split` is the name of the test split: see name_of_test.
        """
        looks = (*self.looks(), TestEvaluation.now(models, best_accuracy, split))
        self._save(TEST_LOG, looks, _TEST_LOG)
        return warn_of_second_look(self.all_looks())

    def _save(self, kind: Kind[T], record: T, name: str) -> None:
        kind.save(record, self.path / name, self.run_id)

    def _load(self, kind: Kind[T], name: str, **apart: Any) -> T:
        if manifest := read_manifest(self.path):
            manifest.check(self.path, name)
        return kind.load(self.path / name, self.run_id, **apart)


def file_of_set(number: int, name: str) -> str:
    """Return the name of the file of feature set `number`."""
    plain = re.sub(r"[^\w.-]+", "-", name)[:60]
    return f"{number}-{plain}.safetensors"


def _stem(name: str) -> str:
    """Return the name of a folder without its number."""
    return re.sub(r"-\d+$", "", name)


def _when(look: TestEvaluation) -> str:
    return look.when


def _numbered(repeats: Sequence[T]) -> dict[str, T]:
    return {f"repeats/{number}": repeat for number, repeat in enumerate(repeats, 1)}


@checked
def load_probes(folder: str | Path) -> Probing | LabelProbing:
    """Read the probes in a folder that `onelayer probe`, or `probe` with `out`, has filled.

    Raises
    ------
    InputError
        If there are none, or a file is damaged; names it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     data = {"pixels": onelayer.load_dataset("digits")}
    ...     found = onelayer.probe(data, out=folder, force=True, report="none")
    ...     onelayer.load_probes(folder) == found
    True
    """
    return RunFolder.open(Path(folder)).probes()


def find_folder(path: Path) -> RunFolder | None:
    """Return the folder of results that the model in `path` belongs to: `path` or its parent."""
    folders = (RunFolder.open(folder) for folder in (path, path.parent))
    return next((folder for folder in folders if folder.has_results), None)


def open_model(path: Path, number: int | None = None) -> Classifier:
    """Return the model in the file `path`, or one of those in an output folder or a saved run.

    Of a folder it is model `number`, else the one that was selected, else the first.

    Raises
    ------
    InputError
        If there is no such model; names the file or folder.
    """
    if not path.is_dir():
        if number is not None:
            raise InputError(f"{path}: not a folder of models, so it has no model {number}")
        return load_model(path)
    folder = RunFolder.open(path)
    if folder.has_results:
        results = folder.results()
        run, chosen = results.run, results.selected
    elif folder.has_probes:
        return folder.probe_model(number)
    elif (path / RUN_FILE).is_file():
        run, chosen = load_run(path), 0
    else:
        raise InputError(f"{path}: holds no model; expected {_RESULTS} or {RUN_FILE} in it")
    try:
        return model_of(run, chosen if number is None else number)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def count_look(path: Path, accuracy: float, split: str) -> str:
    """Record a test evaluation of the model in `path` on `split`, if in a folder of results.

    Returns a warning if it was not the first, else "".
    """
    folder = find_folder(path)
    if folder is None:
        return ""
    return folder.add_look(models=1, best_accuracy=accuracy, split=split)
