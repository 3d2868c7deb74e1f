"""run.plot draws the numbers of the run, into figures of its own or axes that are given."""

import io

import numpy as np
import pypdf
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from made_results import make_results
from onelayer import InputError
from onelayer.evaluation.weight_images import weight_images
from onelayer.report.style import TRAIN, VALIDATION, look


@pytest.fixture(autouse=True)
def closed():
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@pytest.fixture
def run():
    return make_results().run


def drawn(ax):
    """Return the y values of the solid lines by colour."""
    return {
        line.get_color(): line.get_ydata()
        for line in ax.get_lines()
        if line.get_linestyle() == "-" and len(line.get_ydata()) > 2
    }


@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
@pytest.mark.parametrize("given", [False, True])
def test_curves_are_those_of_the_history(run, quantity, given):
    axes = Figure().subplots(1, 3) if given else None
    found = run.plot.curves(quantity, axes=axes)
    assert found == list(axes) if given else pyplot.get_fignums() == [1]
    for model, ax in enumerate(found):
        assert ax.get_title().startswith(run.labels[model])
        lines = drawn(ax)
        for colour, split in ((TRAIN, "train"), (VALIDATION, "validation")):
            expected = getattr(run.history, f"{split}_{quantity}")[model]
            np.testing.assert_array_equal(lines[colour], expected)


def test_curves_are_vectors_and_bear_the_style_of_the_given_figure(run):
    with pyplot.rc_context({"font.size": 20, "axes.titlesize": 20}):
        ax = Figure().subplots()
        run.plot.curves(models=2, axes=ax)
    assert ax.title.get_fontsize() == 20
    file = io.StringIO()
    run.plot.curves()[0].figure.savefig(file, format="svg")
    assert "<image" not in file.getvalue()


def test_a_figure_of_a_paper_is_a_pdf_of_that_width_with_fonts_that_publishers_take(run, tmp_path):
    file = tmp_path / "curves.pdf"
    run.plot.curves(width="column", file=file)
    (page,) = pypdf.PdfReader(file).pages
    assert float(page.mediabox.width) == pytest.approx(72 * 3.5)
    fonts = [each.get_object() for each in page["/Resources"]["/Font"].values()]
    assert {font["/Subtype"] for font in fonts} == {"/Type0"}  # TrueType inside; not /Type3
    assert "/XObject" not in page["/Resources"] or not page.images  # vectors alone
    ax = Figure().subplots()
    assert run.plot.weights(0, axes=ax, file=tmp_path / "w.svg") == [ax]
    assert (tmp_path / "w.svg").stat().st_size
    with pytest.raises(InputError, match=r"\.pdf or \.svg or \.png"):
        run.plot.curves(file=tmp_path / "curves.eps")


@pytest.mark.usefixtures("laid_out")
def test_a_figure_fits_the_column_of_a_paper(run):
    figure = run.plot.curves(width="column")[0].figure
    assert figure.get_figwidth() == 3.5
    with look():
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
    assert 0 < box.x0 < box.x1 < 3.5
    assert {label.get_fontsize() for label in figure.axes[0].get_yticklabels()} == {8}
    with pytest.raises(InputError, match="width"):
        run.plot.curves(width="wide")


def test_weights_are_the_images_of_the_rows(run):
    axes = Figure().subplots(1, 2)
    run.plot.weights(1, axes=axes)
    images = weight_images(run, 1)
    for k, ax in enumerate(axes):
        shown = np.asarray(ax.images[0].get_array(), float)
        np.testing.assert_allclose(shown, images[k].repeat(3, axis=-1)[..., :3], atol=1e-12)
        assert ax.get_title() == run.class_names[k]
    assert len(run.plot.weights()) == len(run.settings)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda plot: plot.curves("cost"), "unknown quantity 'cost'"),
        (lambda plot: plot.curves(models=3), "models is 3; the run has 3, numbered from 0"),
        (lambda plot: plot.curves(models=[0.5]), r"models is \[0.5\]; expected a number"),
        (lambda plot: plot.curves(axes=[1]), r"axes is \[1\]; expected axes of matplotlib"),
        (lambda plot: plot.curves(axes=Figure().subplots(2, 2)), "4 axes for 3 models"),
        (lambda plot: plot.weights(axes=Figure().subplots(2, 2)), "4 axes for 3 classes"),
        (lambda plot: plot.weights([0, 1], Figure().subplots()), "weights of 2 models; expected"),
    ],
)
def test_what_cannot_be_drawn_is_told(run, draw, words):
    with pytest.raises(InputError, match=words):
        draw(run.plot)


def test_weights_that_are_no_images_are_told():
    with pytest.raises(InputError, match="not images"):
        make_results(image_shape=None).run.plot.weights()
