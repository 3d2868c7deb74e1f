"""Small data sets and runs that the tests make themselves."""

import numpy as np

from onelayer.data.dataset import Dataset, Split


def make_data(N=53, D=12, K=4, *, seed=0, dtype=np.uint8, full_scale=255.0, image_shape=None):
    """Return random features and labels, N for training, N for validation, N for test."""
    generator = np.random.default_rng(seed)
    X = (generator.integers(0, 256, (3 * N, D)) / (255 / full_scale)).astype(dtype)
    y = generator.integers(0, K, 3 * N)
    splits = [Split(X[part], y[part]) for part in (slice(N), slice(N, 2 * N), slice(2 * N, None))]
    names = tuple(f"class {k}" for k in range(K))
    return Dataset("made", *splits, names, full_scale, image_shape, digests={"made.bin": "abc"})
