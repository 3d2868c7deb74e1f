"""Protocols: the options with which publications probe features, each a TOML file."""

from pathlib import Path
from typing import Any

from onelayer.arguments import checked
from onelayer.errors import InputError, unknown_name
from onelayer.experiments.config_file import find_file, read_table
from onelayer.experiments.probe_options import DEFAULTS, ProbeOptions, probe_grid
from onelayer.option import options_of
from onelayer.training.hyperparameters import OPTIONS
from onelayer.training.machine import Machine
from onelayer.training.options import TrainingOptions

FOLDER = Path(__file__).parent / "protocols"


def find_protocol(name: str) -> Path:
    """Return the file of the protocol that comes with the package, or the file `name`.

    Raises
    ------
    InputError
        If there is no such protocol; suggests the nearest name.
    """
    return find_file("protocol", name, FOLDER)


@checked
def load_protocol(name: str) -> dict[str, Any]:
    """Return the keywords with which `probe` follows a protocol: "clip", or a TOML file.

    The package has the protocols clip, dinov2-linear and dinov2-logreg: docs/sklearn.md.

    Raises
    ------
    InputError
        If there is no such protocol, or a key is not an option of probe; probe itself checks the
        values.

    Examples
    --------
    >>> protocol = onelayer.load_protocol("clip")
    >>> protocol["C"], protocol["halvings"]
    ([1e-06, 0.0001, 0.01, 1, 100.0, 10000.0, 1000000.0], 4)
    """
    path = find_protocol(name)
    table = {key.replace("-", "_"): value for key, value in read_table(path).items()}
    known = [*options_of(ProbeOptions, TrainingOptions, Machine), *OPTIONS, "fractions"]
    for key in table:
        if key not in known:
            raise InputError(f"{path}: {unknown_name('key', key, known)}")
    of_models = {key: table.pop(key) for key in OPTIONS if key in table}
    if of_models:
        lists = {key: v if isinstance(v, list) else [v] for key, v in of_models.items()}
        table["settings"] = probe_grid(table.get("solver", DEFAULTS["solver"]), **lists)
    return table
