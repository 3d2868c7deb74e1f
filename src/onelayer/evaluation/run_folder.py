"""An output folder as the place of a model, and of the count of looks at its test split."""

from pathlib import Path

from onelayer.errors import InputError
from onelayer.evaluation.model_evaluation import ModelEvaluation
from onelayer.evaluation.results import RESULTS_FILE, load_results
from onelayer.evaluation.test_log import (
    TestEvaluation,
    read_test_log,
    warn_of_second_look,
    write_test_log,
)
from onelayer.storage import output_folder
from onelayer.training.classifier import Classifier, load_model, model_of
from onelayer.training.run import load_run


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
    if (path / RESULTS_FILE).is_file():
        results = load_results(path)
        run, chosen = results.run, results.selected
    elif (path / "run.json").is_file():
        run, chosen = load_run(path), 0
    else:
        raise InputError(f"{path}: holds no model; expected {RESULTS_FILE} or run.json in it")
    try:
        return model_of(run, chosen if number is None else number)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def count_look(path: Path, evaluation: ModelEvaluation) -> str:
    """Count a look at the test split, where the model in `path` belongs to an output folder.

    Returns what is to be said of it: see warn_of_second_look.
    """
    folders = [folder for folder in (path, path.parent) if (folder / RESULTS_FILE).is_file()]
    if not folders:
        return ""
    look = TestEvaluation.now(models=1, best_accuracy=evaluation.accuracy)
    log = [*read_test_log(folders[0]), look]
    with output_folder(folders[0], force=True, add=True) as staging:
        write_test_log(staging, log)
    return warn_of_second_look(log)
