"""Rows of W as pictures, and how smooth they are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import InputError
from onelayer.training.classifier import Classifier
from onelayer.training.run import Run


def weight_images(trained: Run | Classifier, chosen: Any = ...) -> NDArray[np.float64]:
    """Return each row of each W as an image (…, K, height, width, channels) in [0, 1].

    `chosen` is an index into the weights, by default all. Every image is scaled by its own minimum
    and maximum; a constant image becomes 0, and so does one that is not finite, of a stopped model.

    Raises
    ------
    InputError
        If the samples were not images.
    """
    if trained.image_shape is None:
        raise InputError("the samples of this run are not images, so its weights are none")
    W = trained.weights[chosen].astype(np.float64)
    W[~np.isfinite(W).all(axis=-1)] = 0
    low = W.min(axis=-1, keepdims=True)
    size = W.max(axis=-1, keepdims=True) - low
    scaled = (W - low) / np.where(size > 0, size, 1.0)
    planes = scaled.reshape(*W.shape[:-1], *trained.image_shape)
    return np.moveaxis(planes, -3, -1)


def smoothness(run: Run) -> NDArray[np.float64]:
    """Return the mean total variation of the weight images of each model (M,)."""
    variations = [total_variation(weight_images(run, m)).mean() for m in range(len(run.settings))]
    return np.array(variations)


def total_variation(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the anisotropic total variation of each image (…, H, W, C), per pixel and channel.

    The mean absolute difference of horizontal neighbours plus that of vertical ones (Rudin, Osher
    and Fatemi 1992, in its anisotropic form). On images scaled to [0, 1] it does not depend on the
    size of the weights: smooth pictures score low, noise scores high.
    """
    vertical = np.abs(np.diff(images, axis=-3)).mean(axis=(-3, -2, -1))
    horizontal = np.abs(np.diff(images, axis=-2)).mean(axis=(-3, -2, -1))
    return np.asarray(vertical + horizontal)
