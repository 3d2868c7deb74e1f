"""The command line: parse, then call. What is slow to import is imported by the command."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onelayer.errors import InputError

if TYPE_CHECKING:
    from onelayer.evaluation.results import BatchCheck, Results
    from onelayer.experiments.spec import Spec

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(no_args_is_help=True, help="Fetch data sets and say what they hold.")
app.add_typer(data_app, name="data")

SpecName = Annotated[str, typer.Argument(help="A shipped spec's name, or a spec file.")]
Dataset = Annotated[str, typer.Argument(help="A data set's name, or a folder of .npy files.")]
Source = Annotated[
    Path | None, typer.Option(help="A folder or archive of the data set that you already have.")
]
Out = Annotated[Path | None, typer.Option(help="Output folder (default: runs/ and the name).")]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier run wrote there.")]
ForceFile = Annotated[bool, typer.Option("--force", help="Replace the file.")]
ModelPath = Annotated[
    Path, typer.Argument(help="A model.safetensors, what train wrote, or a saved run.")
]
Number = Annotated[
    int | None, typer.Option("--model", min=0, help="Of a run, from 0 (default: the chosen one).")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of weights and orders.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads (default: all cores).")]


def main() -> None:
    """Run the command line of this process and exit with its status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status: 0, 1 for a failed check, 2 for bad input.

    Bad input, a full disk and the like end in one line on standard error, never in a traceback.
    Ctrl-C ends in 130.
    """
    try:
        status: Any = app(arguments, standalone_mode=False)
    except InputError as error:
        return _fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}")
    except KeyboardInterrupt:
        status = 130
    except MemoryError:
        return _fail("not enough memory; try fewer settings, a smaller batch or --memory")
    except Exception as error:
        # typer brings its own copy of click and exports no common base of its usage errors.
        if hasattr(error, "format_message"):
            return _fail(error.format_message())
        return _fail(f"this is a bug, please report it: {error!r}")
    if status == 130:
        return _fail("interrupted", status)
    return status or 0


def _fail(message: str, status: int = 2) -> int:
    line = " ".join(message.split())
    if line:  # asked for nothing, typer shows the help and has no more to say
        print(f"onelayer: {line}", file=sys.stderr)
    return status


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"onelayer {version('onelayer')}")
        raise typer.Exit


@app.callback(epilog="Example: onelayer reproduce dd2424-a1 --out runs/a1")
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say the version and stop."
        ),
    ] = False,
) -> None:
    """Every linear baseline in one pass, with gradients you can trust and a report to hand in."""


@app.command(epilog="Example: onelayer reproduce dd2424-a1 --out runs/a1 --orders 5")
def reproduce(
    spec: SpecName = "dd2424-a1",
    out: Out = None,
    orders: Annotated[
        int | None, typer.Option(min=0, help="Repeats in shuffled order, for the spread.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=0, help="Epochs, instead of the spec's.")
    ] = None,
    seed: Seed = None,
    threads: Threads = None,
    source: Source = None,
    force: Force = False,
) -> int:
    """Run a published experiment: check gradients, train, repeat, evaluate, report.

    Exits with 1 if a gradient check fails.
    """
    from onelayer.experiments.spec import adjust, load_spec

    asked = adjust(load_spec(spec), orders=orders, epochs=epochs, seed=seed)
    return _run_spec(asked, out, source, force, threads=threads)


Many = list[str] | None


def _of_each_model(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel="Of each model, one value or several: 0,0.1")


def _take_from_file(context: typer.Context, path: Path | None) -> Path | None:
    """Let what the file sets stand wherever the command line says nothing."""
    if path is None:
        return path
    from onelayer.experiments.config_file import load_config

    parameters = {name.lstrip("-"): each for each in context.command.params for name in each.opts}
    del parameters["config"]
    context.default_map = {}
    for option, text in load_config(path, parameters).items():
        parameter = parameters[option]
        value = [text] if parameter.multiple else text
        try:
            parameter.process_value(context, value)
        except typer.BadParameter as error:
            raise InputError(f"{path}: {option}: found {text!r}; {error.message}") from error
        context.default_map[parameter.name] = value
    return path


@app.command(epilog="Example: onelayer train cifar10 --l2 0,0.1,1 --learning-rate 0.01,0.001")
def train(
    dataset: Dataset = "cifar10",
    l2: Annotated[Many, _of_each_model("λ (default: 0).")] = None,
    learning_rate: Annotated[Many, _of_each_model("η (default: 0.01).")] = None,
    init_sd: Annotated[
        Many, _of_each_model("Deviation of the first weights (default: 0.01).")
    ] = None,
    loss: Annotated[Many, _of_each_model("cross-entropy, hinge or binary-cross-entropy.")] = None,
    schedule: Annotated[
        Many,
        _of_each_model(
            "Of η: constant, exponential:FACTOR, step:EPOCHS:FACTOR, cosine or "
            "plateau:EPOCHS:FACTOR."
        ),
    ] = None,
    warmup: Annotated[Many, _of_each_model("Epochs over which η rises.")] = None,
    momentum: Annotated[Many, _of_each_model("μ (default: 0).")] = None,
    nesterov: Annotated[Many, _of_each_model("Nesterov's momentum: no,yes.")] = None,
    init: Annotated[Many, _of_each_model("normal, xavier or zeros.")] = None,
    init_seed: Annotated[Many, _of_each_model("Another draw of first weights.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a mini-batch.")] = 100,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the training split.")] = 40,
    order: Annotated[
        str, typer.Option(help="Of the samples: file, shuffled or windowed.")
    ] = "shuffled",
    orders: Annotated[int, typer.Option(min=0, help="Repeats in other shuffled orders.")] = 0,
    scaling: Annotated[str, typer.Option(help="unit, standardise or none.")] = "unit",
    augmentation: Annotated[
        str, typer.Option("--augment", help="On the fly: flip,shift:2,brightness:0.2,contrast:0.2.")
    ] = "none",
    class_weight: Annotated[
        str | None, typer.Option(help="balanced: all classes weigh alike.")
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(help="Split off the training samples: a share below 1, or a number."),
    ] = None,
    evaluate_every: Annotated[
        int, typer.Option(min=0, help="Epochs between measurements; 0: at the end alone.")
    ] = 1,
    keep: Annotated[
        str, typer.Option(help="The last epoch's weights, or the best one's.")
    ] = "last",
    patience: Annotated[
        int | None, typer.Option(min=1, help="End after so many measurements without a better one.")
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of training.")] = None,
    folds: Annotated[
        int, typer.Option(min=0, help="Choose by cross-validation on so many folds.")
    ] = 0,
    fold_repeats: Annotated[int, typer.Option(min=1, help="Times the folds are drawn.")] = 1,
    select: Annotated[
        str, typer.Option(help="best, or 1se: the simplest within a standard error of it.")
    ] = "best",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and orders.")] = 0,
    threads: Threads = None,
    memory: Annotated[float, typer.Option(help="GB that a stack may take while training.")] = 1.0,
    track: Annotated[
        str | None,
        typer.Option(help="Follow every model elsewhere: tensorboard:FOLDER or mlflow:FOLDER."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            is_eager=True,
            callback=_take_from_file,
            help="A TOML file of these options, for those that are not given here.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say the stacks, memory and time, and train nothing.")
    ] = False,
    out: Out = None,
    source: Source = None,
    force: Force = False,
) -> None:
    """Train a grid of settings in one pass; the chosen one is evaluated on the test split."""
    from onelayer.experiments.spec import TrainingSpec, spec_of_grid
    from onelayer.training.hyperparameters import DEFAULTS

    given = locals()
    values = {name: _values(name, given[name], DEFAULTS[name]) for name in DEFAULTS if given[name]}
    data = {"scaling": scaling} | ({} if validation is None else {"validation": validation})
    training = {name: given[name] for name in TrainingSpec.model_fields if name in given}
    spec = spec_of_grid(dataset, values, data=data, **training)
    resources = {"threads": threads, "memory": int(memory * 1e9)}
    if plan:
        _show_plan(spec, source, resources)
    else:
        _run_spec(spec, out, source, force, track=track, **resources)


@app.command(epilog="Example: onelayer check dd2424-a1 --preset strict")
def check(
    spec: SpecName = "dd2424-a1",
    preset: Annotated[
        str | None, typer.Option(help="Only the spec's gradient check of this name.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures as JSON, CSV and pictures.")
    ] = None,
    seed: Seed = None,
    source: Source = None,
    force: Force = False,
) -> int:
    """Check the gradients against numerical ones; exit with 1 if a check fails."""
    from onelayer.experiments.reproduce import check_gradients
    from onelayer.experiments.spec import adjust, load_spec

    checks = check_gradients(
        adjust(load_spec(spec), seed=seed),
        out,
        preset=preset,
        force=force,
        source=source,
        announce=typer.echo,
    )
    for batch in checks:
        _show_check(batch)
    return 0 if all(batch.check.passed for batch in checks) else 1


@app.command(epilog="Example: onelayer report runs/dd2424-a1")
def report(
    folder: Annotated[Path, typer.Argument(help="What reproduce or train wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Draw into this folder (default: where the runs are).")
    ] = None,
    force: Force = False,
) -> None:
    """Redraw the tables, the figures and the report of stored runs, without training."""
    from onelayer.experiments.reproduce import redraw

    redraw(folder, out, force=force)
    typer.echo(f"report: {(out or folder) / 'report.html'}")


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
    typer.echo(f"model: {out}")


@app.command(epilog="Example: onelayer evaluate runs/cifar10 cifar10")
def evaluate(
    model: ModelPath,
    dataset: Annotated[str, typer.Argument(help="A data set's name, a file or a folder.")],
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    number: Number = None,
    source: Source = None,
) -> None:
    """Say what a model is worth on labelled samples: accuracy, each class, confusions, calibration.

    Looks at the test split are counted in the model's output folder.
    """
    from onelayer.data.catalog import load_dataset
    from onelayer.evaluation.model_evaluation import evaluate_model
    from onelayer.evaluation.run_folder import count_look, open_model
    from onelayer.report.terminal import show_evaluation

    opened, data = open_model(model, number), load_dataset(dataset, source=source)
    evaluation = evaluate_model(opened, data, split)
    show_evaluation(evaluation)
    if data.full_scale != opened.full_scale:
        typer.echo(
            f"\nnote: the model learned that {opened.full_scale:g} stands for 1, here it is "
            f"{data.full_scale:g}; values were taken as they are stored"
        )
    if split == "test" and data.name == opened.dataset and (said := count_look(model, evaluation)):
        typer.echo(f"\n{said}")


@app.command(epilog="Example: onelayer predict model.safetensors cat.png --top 3")
def predict(
    model: ModelPath,
    files: Annotated[
        list[str],
        typer.Argument(help="Pictures, or rows as .npy, .npz, .csv, .tsv or .parquet; - is CSV."),
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes of each row, the likeliest first.")] = 1,
    form: Annotated[
        str | None,
        typer.Option("--format", help="table (on a terminal), csv (in a pipe) or json."),
    ] = None,
    number: Number = None,
) -> None:
    """Say the likeliest classes of pictures or rows of features, with their probabilities."""
    from onelayer.errors import unknown_name
    from onelayer.evaluation.ranking import rank_files
    from onelayer.evaluation.run_folder import open_model
    from onelayer.report.terminal import FORMATS, show_rankings, write_rankings

    form = form or ("table" if sys.stdout.isatty() else "csv")
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    opened = open_model(model, number)
    quantity = "score" if opened.link is None else "probability"
    rankings = rank_files(opened, files, top)
    if form == "table":
        show_rankings(rankings, quantity)
        return
    try:
        write_rankings(rankings, quantity, sys.stdout, as_json=form == "json")
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; what is still in the buffer is let go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command(epilog="Example: onelayer explain model.safetensors cat.png --out why.png")
def explain(
    model: ModelPath,
    image: Annotated[Path, typer.Argument(help="A PNG or JPEG of any size.")],
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("explain.png"),
    top: Annotated[int, typer.Option(min=1, max=5, help="Classes, the likeliest first.")] = 3,
    number: Number = None,
    force: ForceFile = False,
) -> None:
    """Draw which pixels speak for and against the likeliest classes of an image."""
    from onelayer.evaluation.run_folder import open_model
    from onelayer.report.evidence import write_explanation

    write_explanation(open_model(model, number), image, out, top=top, force=force)
    typer.echo(f"explanation: {out}")


@data_app.command("fetch", epilog="Example: onelayer data fetch cifar10 --source ~/Downloads")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A data set's name.")] = "cifar10",
    source: Source = None,
) -> None:
    """Bring a data set into the cache, verified; what is there already stays."""
    from onelayer.data.catalog import fetch_dataset

    typer.echo(f"{name}: {fetch_dataset(name, source)}")


@data_app.command("info", epilog="Example: onelayer data info mine.csv")
def data_info(
    name: Annotated[str, typer.Argument(help="A data set's name, a file or a folder.")] = "cifar10",
    source: Source = None,
) -> None:
    """Say what was understood: samples, features, classes, missing values, duplicates, digests."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from onelayer.data.catalog import open_dataset
    from onelayer.data.description import describe

    data = open_dataset(name, source)
    found = describe(data.splits, len(data.class_names))
    table = Table("", *data.splits, title=Text(f"{data.name}: samples"))
    counts = zip(*(split.class_counts for split in found.splits.values()), strict=True)
    for class_name, row in zip(data.class_names, counts, strict=True):
        table.add_row(Text(class_name), *map(str, row))
    table.add_section()
    for field in ("samples", "duplicates", "missing", "infinite", "minimum", "maximum"):
        figures = (f"{getattr(split, field):.9g}" for split in found.splits.values())
        table.add_row(field, *figures)
    Console().print(table)
    shape = ", images of {} × {} × {}".format(*data.image_shape) if data.image_shape else ""
    X = data.splits["train"].X
    typer.echo(f"{X.shape[1]} features, {X.dtype}, full scale {data.full_scale:g}{shape}")
    for (one, other), samples in found.shared.items():
        typer.echo(f"samples of {other} that equal one of {one}: {samples}")
    for file, digest in data.digests.items():
        typer.echo(f"{file} sha256 {digest}")


@data_app.command("show", epilog="Example: onelayer data show cifar10 --augment flip,shift:2")
def data_show(
    name: Dataset = "cifar10",
    augment: Annotated[
        str,
        typer.Option(help="Show versions: any of flip, shift:2, brightness:0.2, contrast:0.2."),
    ] = "none",
    rows: Annotated[int, typer.Option(min=1, max=10, help="Rows of images for each class.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice and the versions.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="PNG file (default: NAME-images.png in this folder).")
    ] = None,
    source: Source = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Draw some training images of each class, to look at; with --augment, versions of them."""
    from onelayer.data.catalog import load_dataset
    from onelayer.report.contact_sheet import write_contact_sheet
    from onelayer.training.augmentation import Augmentation

    augmentation = Augmentation.parse(augment)
    path = out or Path(f"{Path(name).resolve().name}-images.png")
    data = load_dataset(name, source=source)
    write_contact_sheet(data, path, augmentation, rows=rows, seed=seed, force=force)
    typer.echo(f"images: {path}")


def _run_spec(
    spec: "Spec", out: Path | None, source: Path | None, force: bool, **resources: Any
) -> int:
    from onelayer.experiments.reproduce import reproduce as reproduce_spec

    folder = out or Path("runs") / spec.name
    results = reproduce_spec(
        spec, folder, force=force, source=source, announce=typer.echo, **resources
    )
    _show_results(results, folder)
    typer.echo(f"report: {folder / 'report.html'}")
    return 0 if all(batch.check.passed for batch in results.checks) else 1


def _show_plan(spec: "Spec", source: Path | None, resources: dict[str, Any]) -> None:
    from onelayer.experiments.experiment import forecast_spec

    plan = forecast_spec(spec, source, **resources)
    sizes = ", ".join(f"{plan.stacks.count(n)} of {n} models" for n in sorted(set(plan.stacks)))
    typer.echo(f"stacks: {sizes}")
    typer.echo(f"memory: {plan.bytes / 1e9:.3g} GB at most for the largest stack")
    typer.echo(f"time: {plan.seconds:.3g} s of training")


def _values(name: str, texts: list[str], default: Any) -> list[Any]:
    """Read 0,0.1,1 or the option given several times, as values of the default's type."""
    option, kind = name.replace("_", "-"), type(default)
    read = {bool: _yes_or_no}.get(kind, kind)
    example = {bool: "no,yes", int: "0,1", float: "0,0.1"}.get(kind, str(default))
    values = []
    for text in ",".join(texts).split(","):
        try:
            values.append(read(text))
        except ValueError as error:
            raise InputError(f"--{option}: found {text!r}; expected like {example}") from error
    return values


def _yes_or_no(text: str) -> bool:
    if text not in ("no", "yes"):
        raise ValueError(text)
    return text == "yes"


def _show_results(results: "Results", folder: Path) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from onelayer.report.labels import setting_labels

    spread, folds = results.repeat_spread, results.cross_validation
    columns = {
        "published": results.published,
        "test": results.test_accuracies,
        "validation": results.run.final("validation_accuracy"),
        "mean": spread.mean,
        "sd": spread.sd,
        "min": spread.min,
        "max": spread.max,
    }
    if folds is not None:
        means, errors = results.selection.means, results.selection.standard_errors
        columns |= {f"{len(folds.accuracy)} folds": means, "std. error": errors}
    repeats = f"; mean to max: test, shuffled orders: {spread.repeats}" if spread.repeats else ""
    title, names = f"\nAccuracy{repeats}; * chosen", setting_labels(results.run)
    table = Table(title=title, caption=results.notice or None, box=None, padding=(0, 2, 0, 0))
    shown = [name for name, values in columns.items() if not np.isnan(values).all()]
    table.add_column("setting")
    for column in shown:
        table.add_column(column, justify="right")
    for m, name in enumerate(names):
        accuracies = (columns[column][m] for column in shown)
        table.add_row(
            f"{name} *" if m == results.selected else name,
            *("" if np.isnan(value) else f"{value:.4f}" for value in accuracies),
        )
    Console().print(table)
    _show_ablation(folder)
    for batch in results.checks:
        typer.echo(f"{batch.name}, λ={batch.l2:g}: {batch.check}")
    for name, stopped, ended in zip(names, results.run.stopped, results.run.ended, strict=True):
        if stopped:
            typer.echo(f"stopped: {name} was no longer finite in {stopped}")
        if ended:
            typer.echo(f"ended: {name}, {ended}")


def _show_ablation(folder: Path) -> None:
    """Print what the experiment's variants are worth, if it has any."""
    from rich.console import Console
    from rich.table import Table

    from onelayer.evaluation.ablation import load_ablation

    rows = load_ablation(folder)
    if not rows:
        return
    table = Table(title="\nVariants: accuracy on the test set", box=None, padding=(0, 2, 0, 0))
    for column in ("variant", "setting"):
        table.add_column(column)
    for column in ("test", "mean", "sd", "gain"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = (row.test, row.mean, row.sd)
        cells = ("" if figure is None else f"{figure:.4f}" for figure in figures)
        gain = "" if row.gain is None else f"{row.gain:+.4f}"
        table.add_row(row.variant, row.setting, *cells, gain)
    Console().print(table)


def _show_check(batch: "BatchCheck") -> None:
    from rich.console import Console
    from rich.table import Table

    errors = batch.check.errors_W[:10, :10]
    title = f"\n{batch.name}, images: {batch.images}, λ={batch.l2:g}; relative errors of W"
    columns = map(str, range(errors.shape[1]))
    table = Table("class", *columns, title=title, box=None, padding=(0, 1, 0, 0))
    for k, row in enumerate(errors):
        table.add_row(str(k), *(f"{error:.0e}" for error in row))
    Console().print(table)
    typer.echo(str(batch.check))
