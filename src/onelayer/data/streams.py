"""Every random number is a function of the seed, the name of a stream and a place in the stream.

No draw depends on earlier draws: epoch 30 needs no replay of the first 29, and machines that work
side by side draw the same numbers without communication.
"""

from enum import IntEnum

import numpy as np

from onelayer.errors import InputError


class Stream(IntEnum):
    """A named stream of random numbers. Streams of different names share no numbers."""

    INITIAL_PARAMETERS = 0  # place: init_seed
    ORDER = 1  # place: epoch
    AUGMENTATION = 2  # place: epoch
    FOLDS = 3
    RESAMPLES = 4
    SUBSETS = 5
    SHUFFLED_LABELS = 6
    VALIDATION_SPLIT = 7
    DEFAULT_SPLITS = 8
    CHECKED_PARAMETERS = 9  # W and b of a gradient check
    SHOWN_IMAGES = 10
    SHOWN_AUGMENTATION = 11
    BOOTSTRAP = 12  # place: resample
    HALVES = 13  # of a validation split; place: division


def random_stream(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """Return the generator of a stream, at a place in it such as an epoch.

    Examples
    --------
    >>> epoch_3 = random_stream(0, Stream.ORDER, 3)
    >>> bool(epoch_3.random() == random_stream(0, Stream.ORDER, 3).random())
    True
    """
    if seed < 0:
        raise InputError(f"seed is {seed}; expected a whole number from 0")
    return np.random.default_rng((seed, stream, *place))
