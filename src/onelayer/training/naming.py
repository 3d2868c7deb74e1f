"""Short names for the settings of a run, the same in every figure, table and sentence."""

from collections import Counter
from collections.abc import Sequence

from onelayer.training.hyperparameters import OPTIONS, Hyperparameters


def setting_labels(settings: Sequence[Hyperparameters], solver: str = "descent") -> tuple[str, ...]:
    """Return a short name for each of the M settings; no two are equal."""
    labels = [", ".join(words) for words in setting_words(settings, solver)]
    twice = {label for label, count in Counter(labels).items() if count > 1}
    return tuple(
        f"{label} (model {number})" if label in twice else label
        for number, label in enumerate(labels, 1)
    )


def setting_words(settings: Sequence[Hyperparameters], solver: str = "descent") -> list[list[str]]:
    """Return the words that name each setting: λ, η, and all other values in which some differ.

    The exact solver has no η.
    """
    common, named = common_words(settings), 1 if solver == "exact" else 2
    every = [str(setting).split(", ") for setting in settings]
    return [words[:named] + [word for word in words[2:] if word not in common] for words in every]


def common_words(settings: Sequence[Hyperparameters]) -> list[str]:
    """Return the words that all settings share, without λ, η and default values."""
    first, *others = (str(setting).split(", ")[2:] for setting in settings)
    return [word for word in first if all(word in words for words in others)]


def varied(settings: Sequence[Hyperparameters]) -> list[str]:
    """Return the names of the hyperparameters in which settings differ."""
    return [name for name in OPTIONS if len({getattr(each, name) for each in settings}) > 1]
