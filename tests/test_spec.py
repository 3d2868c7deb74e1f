"""Specs say exactly what is run; whatever else they say is refused in one line."""

import pytest

from onelayer.errors import InputError
from onelayer.experiments.config_file import shipped_files
from onelayer.experiments.spec import FOLDER, ExperimentOptions, load_spec, spec_of_grid
from onelayer.training.hyperparameters import grid

MINIMAL = 'name = "a"\ntitle = "A"\n[data]\ndataset = "digits"\n[[settings]]\n'


def write(tmp_path, text):
    path = tmp_path / "spec.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_the_2019_spec_is_the_published_table():
    spec = load_spec("dd2424-a1")
    table = [(s.l2, s.learning_rate, s.published_accuracy) for s in spec.settings]
    assert table == [(0, 0.1, 0.2461), (0, 0.01, 0.3753), (0.1, 0.01, 0.3317), (1, 0.01, 0.2203)]
    assert (spec.training.batch_size, spec.training.epochs, spec.training.repeats) == (100, 40, 5)
    assert (spec.data.train, spec.data.validation) == ("data_batch_1", "data_batch_2")
    strict = spec.gradient_checks[1]
    assert (strict.images, strict.l2, strict.tolerance) == (100, (0, 1), 1e-12)


def test_the_2021_spec_standardises():
    spec = load_spec("dd2424-a1-2021")
    assert spec.training.scaling == "standardise"
    assert [s.learning_rate for s in spec.settings] == [0.1, 0.001, 0.001, 0.001]


@pytest.mark.parametrize("name", shipped_files(FOLDER))
def test_a_spec_comes_back_from_its_own_json(name, tmp_path):
    spec = load_spec(name)
    (tmp_path / "spec.json").write_text(spec.model_dump_json(), "utf-8")
    assert load_spec(str(tmp_path / "spec.json")) == spec


def test_defaults_are_those_of_the_protocol(tmp_path):
    spec = load_spec(write(tmp_path, MINIMAL))
    assert spec.settings[0].hyperparameters.learning_rate == 0.01
    assert (spec.training.batch_size, spec.training.repeats) == (100, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not a TOML file"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "not a TOML file"),
        (MINIMAL + "l1 = 3\n", r"settings\.0: unknown key 'l1'; known: init, init_sd"),
        (
            MINIMAL.replace('"a"', '"../a"'),
            r"name: found '\.\./a'; expected .* pattern",
        ),
        ("[" * 100_000, "not a TOML file"),
        (MINIMAL + "l2 = -1\n", r"settings\.0: l2 is -1; expected a number from 0"),
        (MINIMAL + "learning_rate = 0\n", r"learning_rate is 0; expected a number above 0"),
        (MINIMAL + "learning_rate = nan\n", r"learning_rate is nan; expected a number above 0"),
        (
            MINIMAL + "[training]\nbatch_size = 0\n",
            "batch_size is 0; expected a whole number from 1",
        ),
        (
            MINIMAL + '[training]\norder = "random"\n',
            r"training: unknown order 'random'; known: file, shuffled, windowed",
        ),
        (
            MINIMAL.replace("digits", "digits") + '[training]\nseed = "x"\n',
            "seed is 'x'; expected a whole number",
        ),
        (MINIMAL.replace("[[settings]]\n", ""), "settings: not given, and it has no default"),
        (
            'settings = []\nname="a"\ntitle="A"\n[data]\ndataset="digits"',
            r"settings: found \[\]; expected .* at least 1",
        ),
    ],
)
def test_a_malformed_spec_is_refused_in_one_line_that_names_the_key(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        load_spec(write(tmp_path, text))
    assert "spec.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_checks_of_one_name_are_refused(tmp_path):
    check = (
        '[[gradient_checks]]\nname = "same"\nmethod = "complex"\nstep = 1e-30\nimages = 2\n'
        "l2 = [0]\neps = 1e-5\ntolerance = 1e-12\n"
    )
    with pytest.raises(InputError, match="two gradient checks are called same at l2 0"):
        load_spec(write(tmp_path, MINIMAL + check + check))


def test_an_unknown_spec_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'dd2424-a1'"):
        load_spec("dd2424_a1")


def test_a_missing_spec_file_is_named():
    with pytest.raises(InputError, match=r"mine\.toml: no such spec file"):
        load_spec("mine.toml")


def test_a_grid_becomes_a_spec_of_every_combination():
    settings = grid(l2=[0, 1], learning_rate=[0.1, 0.2])
    spec = spec_of_grid("digits", settings, ExperimentOptions(test="selected"), {})
    assert [(s.l2, s.learning_rate) for s in spec.settings] == [
        (0, 0.1), (0, 0.2), (1, 0.1), (1, 0.2)
    ]  # fmt: skip
    assert spec.training.test == "selected"
