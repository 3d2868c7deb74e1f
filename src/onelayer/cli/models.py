"""One trained model: export, evaluate, predict, explain."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onelayer.cli.described import Group, command_of
from onelayer.cli.options import (
    ForceFile,
    ModelPath,
    Number,
    Source,
    tell,
)
from onelayer.errors import InputError

if TYPE_CHECKING:
    from onelayer.evaluation.model_evaluation import ModelEvaluation

app = typer.Typer()


@app.command(epilog="Example: onelayer export runs/cifar10 --out cifar10.onnx")
def export(
    model: ModelPath,
    number: Number = None,
    out: Annotated[Path, typer.Option(help="A file that ends in .safetensors or .onnx.")] = Path(
        "model.safetensors"
    ),
    force: ForceFile = False,
) -> None:
    """Write one model of a run as a file of its own."""
    from onelayer.evaluation.run_folder import open_model
    from onelayer.training.export import export_model

    export_model(open_model(model, number), out, force=force)
    print(f"model: {out}")


def _reading() -> Group:
    from onelayer.data.reading import Reading

    return Group(Reading)


def _unlabelled() -> Group:
    return replace(_reading(), names=("label", "feature_set", "pool"))


@app.command(cls=command_of(lambda: [_reading()]), epilog="Example: onelayer evaluate runs/cifar10")
def evaluate(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="A model file, a folder written by train, a saved run; or a .csv of predictions, "
            "or W and b in a .npz or .safetensors."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Argument(help="A data set, a file or a folder (default: that of its training)."),
    ] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    number: Number = None,
    source: Source = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A file that ends in .csv, for the metrics in full, or in .html, for all."
        ),
    ] = None,
    force: ForceFile = False,
) -> None:
    """Evaluate a model on labelled samples: metrics with intervals, classes, confusions.

    A model in an output folder is evaluated on the data it was trained on, in the same splits.
    The folder counts how often the test split was evaluated. Predictions of another program are
    labels, or a probability for each class, of the rows of the split in their order.
    """
    from onelayer.evaluation.foreign import is_foreign
    from onelayer.report.evaluation import SECTIONS, Facts, write_evaluation
    from onelayer.report.terminal import show_sections
    from onelayer.storage import check_output_file

    if out is not None:
        check_output_file(out, (".csv", ".html"), force=force)
    options = _reading().build(context.obj).given
    if is_foreign(model):
        if number is not None:
            raise InputError(f"{model}: not a folder of models, so it has no model {number}")
        evaluation, remarks = _evaluate_foreign(model, dataset, split, source, options)
    else:
        evaluation, remarks = _evaluate_model(model, number, dataset, split, source, options)
    notice, *more = remarks
    facts = Facts(evaluation, evaluation.intervals(), notice, tuple(more))
    show_sections(SECTIONS, facts)
    if out is not None:
        write_evaluation(facts, out)
        print(f"\n{'metrics' if out.suffix.lower() == '.csv' else 'page'}: {out}")


def _evaluate_model(
    path: Path,
    number: int | None,
    dataset: str | None,
    split: str,
    source: Path | None,
    options: dict[str, Any],
) -> tuple["ModelEvaluation", list[str]]:
    """Evaluate a model of onelayer; also return notes on it."""
    from onelayer.evaluation.metrics import METRICS
    from onelayer.evaluation.model_evaluation import evaluate_model
    from onelayer.evaluation.run_folder import count_look, open_model
    from onelayer.evaluation.test_log import name_of_test
    from onelayer.experiments.evaluation_data import load_evaluation_data

    model = open_model(path, number)
    data = load_evaluation_data(path, model, dataset, split, source=source, **options)
    for note in data.notes:
        tell(note)
    evaluation = evaluate_model(model, data, split, METRICS.values())
    remarks = [data.notice]
    if data.full_scale != model.full_scale:
        remarks.append(
            f"note: the model learned that {model.full_scale:g} stands for 1, here it is "
            f"{data.full_scale:g}; values were taken as they are stored"
        )
    if split == "test" and data.name == model.dataset:
        remarks.append(count_look(path, evaluation.accuracy, name_of_test(data)))
    return evaluation, remarks


def _evaluate_foreign(
    path: Path, dataset: str | None, split: str, source: Path | None, options: dict[str, Any]
) -> tuple["ModelEvaluation", list[str]]:
    """Evaluate predictions or weights of another program, as _evaluate_model does."""
    from onelayer.data.catalog import load_dataset
    from onelayer.evaluation.foreign import holds_predictions, read_predictions, read_weights
    from onelayer.evaluation.metrics import METRICS
    from onelayer.evaluation.model_evaluation import evaluate_model, evaluate_predictions

    if dataset is None:
        raise InputError(f"{path}: says not what it is of; name a data set after it")
    data = load_dataset(dataset, source=source, **options)
    for note in data.notes:
        tell(note)
    if holds_predictions(path):
        predictions = read_predictions(path, data, split)
        tell(predictions.note)
        evaluation = evaluate_predictions(predictions, data, split, METRICS.values())
    else:
        model, note = read_weights(path, data)
        tell(note)
        evaluation = evaluate_model(model, data, split, METRICS.values())
    return evaluation, [data.notice]


@app.command(
    cls=command_of(lambda: [_unlabelled()]),
    epilog="Example: onelayer predict model.safetensors cat.png --top 3",
)
def predict(
    context: typer.Context,
    model: ModelPath,
    files: Annotated[
        list[str],
        typer.Argument(help="Pictures, or data in any format that train reads; - reads CSV."),
    ],
    top: Annotated[
        int, typer.Option(min=1, help="Classes shown for each row, most likely first.")
    ] = 1,
    form: Annotated[
        str | None,
        typer.Option("--format", help="table (on a terminal), csv (in a pipe) or json."),
    ] = None,
    number: Number = None,
) -> None:
    """Predict the most likely classes of pictures or rows of features, with probabilities."""
    from onelayer.errors import unknown_name
    from onelayer.evaluation.ranking import rank_files
    from onelayer.evaluation.run_folder import open_model
    from onelayer.report.terminal.model import FORMATS, WIDEST, show_rankings, write_rankings

    form = form or ("table" if sys.stdout.isatty() else "csv")
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if form == "table" and top > WIDEST:
        raise InputError(
            f"--top is {top}; expected up to {WIDEST} in a table, --format csv has all"
        )
    opened = open_model(model, number)
    quantity = "score" if opened.link is None else "probability"
    rankings = rank_files(opened, files, top, tell=tell, **_unlabelled().build(context.obj).given)
    if form == "table":
        show_rankings(rankings, quantity)
        return
    write_rankings(rankings, quantity, sys.stdout, as_json=form == "json")


@app.command(epilog="Example: onelayer explain model.safetensors cat.png --out why.png")
def explain(
    model: ModelPath,
    image: Annotated[Path, typer.Argument(help="A picture of any size.")],
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("explain.png"),
    top: Annotated[int, typer.Option(min=1, max=5, help="Classes shown, most likely first.")] = 3,
    number: Number = None,
    force: ForceFile = False,
) -> None:
    """Draw which pixels are evidence for and against the most likely classes of an image."""
    from onelayer.evaluation.run_folder import open_model
    from onelayer.report.evidence import write_explanation

    write_explanation(open_model(model, number), image, out, top=top, force=force)
    print(f"explanation: {out}")
