"""How `make docs` builds the site; every warning is an error there."""

import re
import subprocess
import sys
from functools import cache
from importlib.metadata import version as version_of
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from onelayer import Dataset, InputError, grid, load_dataset
from onelayer.evaluation.metrics import METRICS
from onelayer.experiments.experiment import run_experiment
from onelayer.experiments.spec import ExperimentOptions, spec_of_grid
from onelayer.model.doctor.slips import CODES
from onelayer.option import options_of
from onelayer.report.explore import write_explore
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.machine import Machine

project = "onelayer"
author = "The onelayer authors"
copyright = author
version = release = version_of(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "code"
smartquotes = False  # two dashes before an option are two dashes

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes, which types do not
napoleon_google_docstring = False
napoleon_attr_annotations = False

html_theme = "furo"
html_title = "onelayer"
html_copy_source = False
html_show_sourcelink = False


def rewrite(app: Sphinx, page: str, source: list[str]) -> None:
    """Fill in the commands, and let links to files outside docs/ download them."""
    if page == "commands":
        source[0] += describe_commands()
    if page == "train":
        source[0] = source[0].replace("<!-- options -->", describe_options())
    if page == "doctor":
        source[0] = source[0].replace("<!-- diagnoses -->", describe_codes())
    if page == "gallery":
        source[0] = source[0].replace("<!-- explored -->", explored().name)
    if page in ("maths", "models"):
        source[0] = source[0].replace(
            "<!-- metrics -->", describe_metrics(equations=page == "maths")
        )
    source[0] = re.sub(r"(?<!!)(\[[^]]*\]\()(?=\.\./)", r"\1path:", source[0])


def describe_commands() -> str:
    """Return every command's help as Markdown."""
    command = [sys.executable, "-m", "typer", "onelayer.cli", "utils", "docs", "--name", "onelayer"]
    text = subprocess.check_output(command, text=True)
    _, text = text.split("\n", 1)  # the page has a title of its own
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", text)  # cut short; the headings say it
    return re.sub(r"^Example: (.*)$", r"Example: `\1`", text, flags=re.MULTILINE)


def describe_options() -> str:
    """Return the table of the options of a training, from the fields that describe them."""
    rows = ["| option | meaning | values | default |", "|---|---|---|---|"]
    for name, each in options_of(Hyperparameters, ExperimentOptions, Machine).items():
        values = each.expected if each.kind in (bool, int, float) else ""
        meaning = each.sentence.replace("|", "\\|")
        rows.append(f"| `{name}` | {meaning} | {values} | `{each.default}` |")
    return "\n".join(rows)


def describe_metrics(*, equations: bool) -> str:
    """Return the table of the metrics: their equations, or what they say and take."""
    rows = [
        f"| metric | {'equation | source' if equations else 'meaning | takes'} |",
        "|---|---|---|",
    ]
    for metric in METRICS.values():
        equation = metric.equation.replace("|", "\\|")
        said = (metric.sentence, " or ".join(metric.takes))
        cells = (equation, metric.source) if equations else said
        rows.append(f"| {' | '.join((metric.heading, *cells))} |")
    return "\n".join(rows)


def describe_codes() -> str:
    """Return what each diagnosis says, under a heading of its own."""
    parts = []
    for slip in sorted(CODES.values(), key=lambda slip: slip.code):
        advice = " *Advice, not a fault.*" if slip.advice else ""
        right = slip.right.replace("|", "\\|")
        parts += [f"### {slip.code}: {slip.name}", f"{slip.sentence}{advice}"]
        parts += [f"Right: {right}", f"*Hint:* {slip.hint}"]
    return "\n\n".join(parts).replace("*W", "\\*W")


def set_dashes(app: Sphinx, document: nodes.document) -> None:
    """Part names from what is said of them by a dash, which smartquotes would have made."""
    for text in list(document.findall(lambda node: node == " -- ")):
        text.parent.replace(text, nodes.Text(" – "))


@cache
def explored() -> Dataset:
    """Return the data of the explorable page: CIFAR-10, or digits where no source answers."""
    try:
        return load_dataset("cifar10")
    except InputError:
        return load_dataset("digits")


def write_explorable_page(app: Sphinx, error: Exception | None) -> None:
    """Put the explorable page of a run beside the pages."""
    if error is None and app.builder.format == "html":
        data = explored()
        rates = [0.1, 0.01] if data.name == "digits" else [0.01, 0.001]
        settings = grid(l2=[0, 0.01, 0.1], learning_rate=rates)
        options = ExperimentOptions(epochs=40, snapshots=12)
        results = run_experiment(spec_of_grid(data.name, settings, options, {}), data)
        write_explore(results, Path(app.outdir) / "_static" / "explore.html", data)


def setup(app: Sphinx) -> None:
    """Let Sphinx call what is above."""
    app.connect("build-finished", write_explorable_page)
    app.connect("source-read", rewrite)
    app.connect("doctree-read", set_dashes)
