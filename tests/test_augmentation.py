"""Augmentation: what happens to an image, how often, and what the seed decides."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from onelayer.errors import InputError
from onelayer.training.augmentation import Augmentation, augment, check_augmentation
from rounding import rounding

SHAPE = (3, 6, 5)
shares = st.floats(0, 1)
augmentations = st.builds(Augmentation, shares, st.integers(0, 4), shares, shares)


def make_images(n=200, dtype=np.uint8, low=0, high=255, shape=SHAPE):
    """Return rows that are not contiguous, as those of CIFAR-10's binary files are not."""
    generator = np.random.default_rng(1)
    records = generator.integers(low, high + 1, (n, 1 + np.prod(shape))).astype(dtype)
    return records[:, 1:]


def run(X, text, seed=0, full_scale=255.0, shape=SHAPE):
    return augment(X, shape, Augmentation.parse(text), np.random.default_rng(seed), full_scale)


def mirrored(X, shape=SHAPE):
    return X.reshape(-1, *shape)[..., ::-1].reshape(X.shape)


@given(augmentations)
def test_parse_reads_back_what_str_writes(augmentation):
    assert Augmentation.parse(str(augmentation)) == augmentation


def test_flip_alone_means_every_second_image():
    assert Augmentation.parse("flip") == Augmentation(flip=0.5)
    assert Augmentation.parse(" shift:2, flip:0.3 ") == Augmentation(flip=0.3, shift=2)
    assert Augmentation.parse("none") == Augmentation()
    assert str(Augmentation(flip=0.5, shift=2, contrast=0.2)) == "flip,shift:2,contrast:0.2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flp", "unknown augmentation 'flp'; did you mean 'flip'?"),
        ("", "unknown augmentation ''; known: brightness, contrast, flip, shift"),
        ("flip,,shift:2", "unknown augmentation ''"),
        ("shift", "shift is ''; expected a whole number, as in shift:2"),
        ("shift:1.5", "shift is '1.5'; expected a whole number"),
        ("shift:-1", "shift is -1; expected whole pixels"),
        ("flip:", "flip is ''; expected a number, as in flip:0.2"),
        ("contrast:much", "contrast is 'much'; expected a number, as in contrast:0.2"),
        ("brightness:1.5", "brightness is 1.5; expected a number from 0 to 1"),
        ("flip:nan", "flip is nan; expected a number from 0 to 1"),
        ("flip,flip:0.3", "flip comes twice"),
    ],
)
def test_bad_text_is_told_by_its_part(text, words):
    with pytest.raises(InputError) as told:
        Augmentation.parse(text)
    assert words in str(told.value)


def test_only_images_larger_than_the_shift_can_be_augmented():
    check_augmentation(Augmentation(), None)
    check_augmentation(Augmentation(shift=4), SHAPE)
    with pytest.raises(InputError, match="augmentation flip: the features of this data are"):
        check_augmentation(Augmentation(flip=0.5), None)
    with pytest.raises(InputError, match="shift is 5; expected 0 to 4"):
        check_augmentation(Augmentation(shift=5), SHAPE)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float32, np.float64])
def test_with_nothing_on_the_bits_stay_and_are_copied(dtype):
    X = make_images(dtype=dtype)
    out = run(X, "none", full_scale=1.0)
    assert out.dtype == dtype
    assert out.tobytes() == X.tobytes()
    assert not np.shares_memory(out, X)


@given(augmentations, st.sampled_from([np.uint8, np.float32]), st.integers(0, 9))
@settings(max_examples=50)
def test_the_input_stays_and_the_seed_decides(augmentation, dtype, n):
    X = make_images(n, dtype)
    before = X.tobytes()
    first, again = (
        augment(X, SHAPE, augmentation, np.random.default_rng(3), 255.0) for _ in range(2)
    )
    assert first.tobytes() == again.tobytes()
    assert (first.dtype, first.shape) == (X.dtype, X.shape)
    assert X.tobytes() == before


def test_another_seed_draws_otherwise():
    X = make_images()
    for text in ("flip", "shift:1", "brightness:0.5", "contrast:0.5"):
        assert not np.array_equal(run(X, text, seed=0), run(X, text, seed=1))


@pytest.mark.parametrize(("shape", "most"), [(SHAPE, 1), (SHAPE, 4), ((1, 3, 9), 2)])
def test_shifts_are_those_of_scipy_and_equally_likely(shape, most):
    n = 3000
    X = make_images(n, shape=shape)
    moved = run(X, f"shift:{most}", shape=shape)
    offsets = list(itertools.product(range(-most, most + 1), repeat=2))
    found = np.array(
        [
            (moved == nearest(X, offset, shape)).reshape(n, -1).all(axis=1)  # a row an offset
            for offset in offsets
        ]
    )
    np.testing.assert_array_equal(found.sum(axis=0), 1)
    assert stats.chisquare(found.sum(axis=1)).pvalue > 0.001


def nearest(X, offset, shape):
    images = X.reshape(-1, *shape)
    return ndimage.shift(images, (0, 0, *offset), order=0, mode="nearest").reshape(X.shape)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_images_are_mirrored_as_often_as_asked(share):
    X = make_images(2000)
    out = run(X, f"flip:{share}")
    flipped = (out != X).any(axis=1)
    np.testing.assert_array_equal(out, np.where(flipped[:, None], mirrored(X), X))
    assert stats.binomtest(int(flipped.sum()), len(X), share).pvalue > 0.001


def test_the_same_flip_twice_is_no_flip():
    X = make_images()
    np.testing.assert_array_equal(run(run(X, "flip"), "flip"), X)


def test_brightness_multiplies_an_image_by_a_uniform_factor():
    X = make_images(1000, np.float64, low=50, high=150)
    out = run(X, "brightness:0.3")
    factors = out.mean(axis=1) / X.mean(axis=1)
    np.testing.assert_allclose(out, factors[:, None] * X, rtol=1e-12)
    assert stats.kstest(factors, stats.uniform(0.7, 0.6).cdf).pvalue > 0.001


def test_contrast_keeps_the_mean_and_scales_the_spread_by_a_uniform_factor():
    X = make_images(1000, np.float64, low=80, high=170)
    out = run(X, "contrast:0.3")
    mean = X.mean(axis=1, keepdims=True)
    factors = out.std(axis=1) / X.std(axis=1)
    np.testing.assert_allclose(out, mean + factors[:, None] * (X - mean), rtol=1e-12)
    assert stats.kstest(factors, stats.uniform(0.7, 0.6).cdf).pvalue > 0.001


def test_brightness_comes_first_and_contrast_keeps_what_it_left():
    X = make_images(100, np.float64, low=80, high=150)
    both, bright = run(X, "brightness:0.3,contrast:0.3"), run(X, "brightness:0.3")
    np.testing.assert_allclose(both.mean(axis=1), bright.mean(axis=1), rtol=1e-12)
    factors = run(X, "contrast:0.3").std(axis=1) / X.std(axis=1)
    np.testing.assert_allclose(both.std(axis=1), factors * bright.std(axis=1), rtol=1e-12)


@pytest.mark.parametrize("full_scale", [255.0, 16.0])
def test_relit_values_are_rounded_and_stay_in_the_full_scale(full_scale):
    X = make_images(500, high=int(full_scale))
    text = "flip,shift:1,brightness:0.9,contrast:0.9"
    exact = run(X.astype(np.float64), text, full_scale=full_scale)
    assert (exact.min(), exact.max()) == (0, full_scale)
    bound = rounding(full_scale, 16, np.float32)  # 90 pixels are averaged in 8 partial sums
    assert abs(run(X, text, full_scale=full_scale) - exact).max() < 0.5 + bound
    single = run(X.astype(np.float32), text, full_scale=full_scale)
    np.testing.assert_allclose(single, exact, rtol=0, atol=bound)


def test_a_part_does_not_change_what_the_others_draw():
    X = make_images(dtype=np.float64)
    flipped = (run(X, "flip") != X).any(axis=1)
    shifted = run(X, "shift:2")
    both = np.where(flipped[:, None], mirrored(shifted), shifted)
    np.testing.assert_array_equal(run(X, "flip,shift:2"), both)
    faint = run(X, "flip,shift:2,brightness:1e-12,contrast:1e-12")
    np.testing.assert_allclose(faint, both, atol=1e-9)


def test_how_batches_are_cut_changes_nothing():
    X = make_images(100)
    augmentation = Augmentation.parse("flip,shift:2,brightness:0.2,contrast:0.2")
    generator = np.random.default_rng(0)
    parts = [augment(part, SHAPE, augmentation, generator, 255.0) for part in (X[:37], X[37:])]
    np.testing.assert_array_equal(np.concatenate(parts), run(X, str(augmentation)))
