"""The most confident mistakes of a model on test images."""

from onelayer.evaluation.predictions import Mistakes, Scored
from onelayer.evaluation.results import Results
from onelayer.report.image_grid import as_images, image_grid, stretched
from onelayer.report.labels import count_of, one_line
from onelayer.report.lettering import told_apart
from onelayer.report.style import WIDTH, Drawing

_COLUMNS = 8
_LETTERS = 11  # of a class name below an image


def draw_mistakes(results: Results, mistakes: Mistakes) -> Drawing:
    """Draw the test images with the most confident mistakes of the selected setting."""
    test, names = results.predictions.test, results.run.class_names
    assert test is not None  # Predictions has no mistakes without
    assert results.run.image_shape is not None
    shown = Scored(test.scores[mistakes.rows], test.y[mistakes.rows])
    link = results.selected_loss.link
    true, predicted = shown.y, shown.scores.argmax(axis=1)
    certainties = shown.certainties(link).max(axis=1)
    measure = "its probability" if link else "how far its score is above that of the true class"
    images = as_images(mistakes.X, results.run.image_shape, mistakes.full_scale)
    starts = range(0, len(images), _COLUMNS)
    grid = image_grid(
        [images[i : i + _COLUMNS] for i in starts], _COLUMNS, slot=WIDTH / _COLUMNS - 0.01,
        below=0.45, margins=(0.05, 0.03, 0.05, 0.0),
    )  # fmt: skip
    below = told_apart(names, _LETTERS)
    for i, (k, j, p) in enumerate(zip(true, predicted, certainties, strict=True)):
        words = f"{below[k]}\n↳ {below[j]}\n{p:.3f}"
        grid.write(*divmod(i, _COLUMNS), words, -3, fontsize=6.5, linespacing=1.15)
    setting = results.run.labels[results.selected]
    caption = (
        f"The {len(images)} test images that {setting} is most confidently wrong about: true "
        f"class, ↳ predicted class, and {measure}.{stretched(results.run.image_shape)}"
    )
    first = f"{one_line(names[true[0]])} predicted as {one_line(names[predicted[0]])}"
    alt = (
        f"{count_of(len(images), 'test image')} with the most confident mistakes of {setting}. The "
        f"first: {first}, {measure}: {certainties[0]:.3f}; of the last {certainties[-1]:.3f}."
    )
    return Drawing("mistakes", grid.figure, caption, alt)
