"""The method in sentences and equations: only those that the settings of a run use."""

from collections.abc import Iterator, Sequence

from onelayer.model.losses import Rows, find_loss
from onelayer.report.blocks import Block, Equations, Paragraph
from onelayer.report.labels import count_of, listing
from onelayer.training.augmentation import Augmentation
from onelayer.training.hyperparameters import Hyperparameters
from onelayer.training.naming import common_words
from onelayer.training.run import Run
from onelayer.training.schedules import Schedule

_DESCENT: Rows = (
    ("(8)", "W ← W − η ∂J/∂W", "a step for each mini-batch"),
    ("(9)", "b ← b − η ∂J/∂b", ""),
    ("(10)", "∂J/∂W = (1/B) Σᵢ gᵢ xᵢᵀ + 2λW", "gᵢ = ∂l/∂s for the sample xᵢ"),
    ("(11)", "∂J/∂b = (1/B) Σᵢ gᵢ", "B: samples in the batch"),
)
_EXACT: Rows = (
    ("(10)", "∂J/∂W = (1/N) Σᵢ gᵢ xᵢᵀ + 2λW", "gᵢ = ∂l/∂s for the sample xᵢ"),
    ("(11)", "∂J/∂b = (1/N) Σᵢ gᵢ", ""),
    ("", "J − min J ≤ ‖∂J/∂W‖² / 4λ", "where ∂J/∂b = 0; what is left of it is added"),
)
_SCHEDULES = {
    "exponential": ("ηₑ = η fᵉ", "epoch e from 0"),
    "step": ("ηₑ = η f^⌊e/n⌋", "epoch e from 0"),
    "cosine": ("ηₑ = η (1 + cos(π e / E)) / 2", "epoch e from 0 of E"),
    "plateau": ("η ← f η", "validation loss stalled over n"),
}


def describe_method(run: Run) -> Iterator[Block]:
    """Yield paragraphs and equations on the training of `run`."""
    losses = [find_loss(name) for name in dict.fromkeys(setting.loss for setting in run.settings)]
    link = losses[0].link if len(losses) == 1 else None
    exact = run.training["solver"] == "exact"
    how = "by L-BFGS to the least value of" if exact else "by mini-batch gradient descent on"
    batches = "" if exact else "All settings are trained together on the same batches. "
    yield Paragraph(
        f"A single layer {f'with {link.name} ' if link else ''}is trained {how} the mean "
        f"{listing([loss.title for loss in losses], 'or')} plus λ times the sum of the squared "
        f"weights. {batches}Loss is the mean of l alone, cost is J. The equations are numbered as "
        "in the course DD2424."
    )
    yield Equations(
        (
            ("(1)", "s = W x + b", "scores of a sample x"),
            ("(5)", "J = (1/N) Σᵢ l(xᵢ, yᵢ, W, b) + λ Σᵢⱼ Wᵢⱼ²", "cost; b is not penalised"),
            *(row for loss in losses for row in loss.equations),
            *(_EXACT if exact else _DESCENT),
            *(row for loss in losses for row in loss.slope_equations),
            *_steps(run.settings),
        )
    )
    further = " ".join(_further(run))
    if further:
        yield Paragraph(further)


def _steps(settings: Sequence[Hyperparameters]) -> Iterator[tuple[str, str, str]]:
    """Yield the equations of momentum, schedules and warm-up, if settings use them."""
    if any(setting.momentum for setting in settings):
        yield "", "V ← μ V + ∂J/∂W,  W ← W − η V", "with momentum; b likewise"
    if any(setting.nesterov for setting in settings):
        yield "", "W ← W − η (∂J/∂W + μ V)", "Nesterov's, V as above"
    kinds = dict.fromkeys(Schedule.parse(setting.schedule).kind for setting in settings)
    for kind in kinds:
        if kind in _SCHEDULES:
            equation, words = _SCHEDULES[kind]
            yield "", equation, f"{kind}: {words}"
    if any(setting.warmup for setting in settings):
        yield "", "ηₑ ← ηₑ min(1, (e + 1) / (w + 1))", "warm-up over w epochs"


def _further(run: Run) -> Iterator[str]:
    """Yield sentences on options that the equations do not show."""
    common = common_words(run.settings)
    if common:
        yield f"All settings share: {'; '.join(common)}."
    if any(setting.init == "xavier" for setting in run.settings):
        yield "Xavier: W is drawn with the standard deviation √(2 / (D + K)), b starts at 0."
    parts = list(_augmentation(str(run.training.get("augmentation", "none"))))
    if parts:
        yield f"Training images are augmented at random in each epoch: {listing(parts)}."
    if run.training.get("patience") is not None:
        yield (
            f"Early stopping: a model ends after {run.training['patience']} measurements without a "
            "better validation accuracy, and keeps the parameters of its best epoch."
        )
    elif run.training.get("keep") == "best":
        yield "Each model keeps the parameters of its epoch with the best validation accuracy."


def _augmentation(text: str) -> Iterator[str]:
    augmentation = Augmentation.parse(text)
    if augmentation.flip:
        yield f"mirrored with probability {augmentation.flip:g}"
    if augmentation.shift:
        yield f"shifted by up to {count_of(augmentation.shift, 'pixel')} each way"
    if augmentation.brightness:
        yield f"its brightness multiplied by 1 ± {augmentation.brightness:g}"
    if augmentation.contrast:
        yield f"its contrast multiplied by 1 ± {augmentation.contrast:g}"
