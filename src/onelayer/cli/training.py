"""Training a grid of settings, with options of its own or from a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onelayer.cli.experiments import run_spec
from onelayer.cli.options import (
    Coarse,
    Dataset,
    Force,
    Label,
    Many,
    Memory,
    Out,
    Resize,
    Source,
    Threads,
    Validation,
    memory_bytes,
    of_each_model,
    read_values,
    reading,
)
from onelayer.errors import InputError

if TYPE_CHECKING:
    from onelayer.experiments.spec import Spec

app = typer.Typer()


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
    l2: Annotated[Many, of_each_model("λ (default: 0).")] = None,
    learning_rate: Annotated[Many, of_each_model("η (default: 0.01).")] = None,
    init_sd: Annotated[
        Many, of_each_model("Deviation of the first weights (default: 0.01).")
    ] = None,
    loss: Annotated[Many, of_each_model("cross-entropy, hinge or binary-cross-entropy.")] = None,
    schedule: Annotated[
        Many,
        of_each_model(
            "Of η: constant, exponential:FACTOR, step:EPOCHS:FACTOR, cosine or "
            "plateau:EPOCHS:FACTOR."
        ),
    ] = None,
    warmup: Annotated[Many, of_each_model("Epochs over which η rises.")] = None,
    momentum: Annotated[Many, of_each_model("μ (default: 0).")] = None,
    nesterov: Annotated[Many, of_each_model("Nesterov's momentum: no,yes.")] = None,
    init: Annotated[Many, of_each_model("normal, xavier or zeros.")] = None,
    init_seed: Annotated[Many, of_each_model("Another draw of first weights.")] = None,
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
    validation: Validation = None,
    resize: Resize = None,
    coarse: Coarse = False,
    label: Label = None,
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
    memory: Memory = 1.0,
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
    values = {
        name: read_values(name, given[name], DEFAULTS[name]) for name in DEFAULTS if given[name]
    }
    data = {"scaling": scaling} | reading(resize, coarse, label)
    data |= {} if validation is None else {"validation": validation}
    training = {name: given[name] for name in TrainingSpec.model_fields if name in given}
    spec = spec_of_grid(dataset, values, data=data, **training)
    resources = {"threads": threads, "memory": memory_bytes(memory)}
    if plan:
        _show_plan(spec, source, resources)
    else:
        run_spec(spec, out, source, force, track=track, **resources)


def _show_plan(spec: "Spec", source: Path | None, resources: dict[str, Any]) -> None:
    from onelayer.experiments.experiment import forecast_spec

    plan = forecast_spec(spec, source, **resources)
    sizes = ", ".join(f"{plan.stacks.count(n)} of {n} models" for n in sorted(set(plan.stacks)))
    typer.echo(f"stacks: {sizes}")
    typer.echo(f"memory: {plan.bytes / 1e9:.3g} GB at most for the largest stack")
    typer.echo(f"time: {plan.seconds:.3g} s of training")
