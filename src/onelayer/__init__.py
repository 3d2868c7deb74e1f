"""Every linear baseline in one pass, with gradients you can trust and a report you can hand in."""

from importlib import import_module

TYPE_CHECKING = False  # typing is slow to import, and __main__ first looks after sys.path
if TYPE_CHECKING:
    from typing import Any

    from onelayer.data.catalog import load_dataset
    from onelayer.data.dataset import Dataset, Split
    from onelayer.data.in_memory import dataset_from
    from onelayer.errors import InputError
    from onelayer.estimator.classifier import OneLayerClassifier
    from onelayer.estimator.search import OneLayerSearchCV
    from onelayer.evaluation.run_folder import load_probes
    from onelayer.experiments.probe import probe
    from onelayer.experiments.protocol import load_protocol
    from onelayer.experiments.resume import plan_resume, resume
    from onelayer.experiments.verify import verify
    from onelayer.model.doctor.diagnosis import Diagnosis
    from onelayer.model.doctor.examination import assert_gradient, diagnose
    from onelayer.model.gradient_check import GradientCheck, check_gradient
    from onelayer.training.classifier import Classifier, load_model, model_of
    from onelayer.training.conversions import C_from_l2, l2_from_alpha, l2_from_C
    from onelayer.training.hyperparameters import Hyperparameters, grid
    from onelayer.training.loop import train
    from onelayer.training.ranks import ranks
    from onelayer.training.run import Run, load_run

_HOMES = {
    "C_from_l2": "training.conversions",
    "Classifier": "training.classifier",
    "Dataset": "data.dataset",
    "Diagnosis": "model.doctor.diagnosis",
    "GradientCheck": "model.gradient_check",
    "Hyperparameters": "training.hyperparameters",
    "InputError": "errors",
    "OneLayerClassifier": "estimator.classifier",
    "OneLayerSearchCV": "estimator.search",
    "Run": "training.run",
    "Split": "data.dataset",
    "assert_gradient": "model.doctor.examination",
    "check_gradient": "model.gradient_check",
    "dataset_from": "data.in_memory",
    "diagnose": "model.doctor.examination",
    "grid": "training.hyperparameters",
    "l2_from_C": "training.conversions",
    "l2_from_alpha": "training.conversions",
    "load_dataset": "data.catalog",
    "load_model": "training.classifier",
    "load_probes": "evaluation.run_folder",
    "load_protocol": "experiments.protocol",
    "load_run": "training.run",
    "model_of": "training.classifier",
    "plan_resume": "experiments.resume",
    "probe": "experiments.probe",
    "ranks": "training.ranks",
    "resume": "experiments.resume",
    "train": "training.loop",
    "verify": "experiments.verify",
}

__all__ = [
    "C_from_l2",
    "Classifier",
    "Dataset",
    "Diagnosis",
    "GradientCheck",
    "Hyperparameters",
    "InputError",
    "OneLayerClassifier",
    "OneLayerSearchCV",
    "Run",
    "Split",
    "assert_gradient",
    "check_gradient",
    "dataset_from",
    "diagnose",
    "grid",
    "l2_from_C",
    "l2_from_alpha",
    "load_dataset",
    "load_model",
    "load_probes",
    "load_protocol",
    "load_run",
    "model_of",
    "plan_resume",
    "probe",
    "ranks",
    "resume",
    "train",
    "verify",
]


def __getattr__(name: str) -> "Any":
    """Import a public name when it is first asked for, so that `import onelayer` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'onelayer' has no attribute {name!r}")
    return getattr(import_module(f"onelayer.{_HOMES[name]}"), name)
