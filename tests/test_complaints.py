"""Every kind of mistake in a spec is told in the project's words: key, found, right."""

import pytest

from onelayer.errors import InputError
from onelayer.experiments.complaints import plain_words
from onelayer.experiments.spec import Spec

CHECK = {
    "name": "c", "method": "complex", "step": 1e-30, "images": 2, "l2": [0], "eps": 1e-5,
    "tolerance": 1e-12,
}  # fmt: skip


def complaint(**changes):
    given = {"name": "a", "title": "A", "data": {"dataset": "digits"}, "settings": [{}]} | changes
    with pytest.raises(InputError) as caught, plain_words(Spec, "mine.toml: "):
        Spec.model_validate(given)
    return str(caught.value).removeprefix("mine.toml: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"setings": []}, "unknown key 'setings'; did you mean 'settings'?"),
        ({"training": {"epoch": 3}}, "training: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"settings": [{}, {"l": 1}]}, "settings.1: unknown key 'l'; did you mean 'l2'?"),
        ({"data": {}}, "data: dataset: not given"),
        ({"data": {"dataset": "d", "labl": "c"}}, "data: unknown key 'labl'; did you mean"),
        ({"training": {"scaling": "unt"}}, "training: unknown scaling 'unt'; did you mean 'unit'"),
        ({"training": {"order": 3}}, "training: order is 3; expected a text"),
        ({"training": 3}, "training: found 3; expected a table"),
        ({"data": 3}, "data: found 3; expected"),
        ({"title": 3}, "title: found 3; expected"),
        ({"settings": 3}, "settings: found 3; expected"),
        ({"settings": []}, "settings: found []; expected"),
        ({"settings": [{"nesterov": 3}]}, "settings.0: nesterov is 3; expected true or false"),
        ({"settings": [{"l2": "x"}]}, "settings.0: l2 is 'x'; expected a number from 0"),
        (
            {"settings": [{"momentum": 1}]},
            "settings.0: momentum is 1; expected a number from 0, below",
        ),
        ({"settings": [{"momentum": -1}]}, "settings.0: momentum is -1; expected a number from 0"),
        ({"settings": [{"loss": "hing"}]}, "settings.0: unknown loss 'hing'; did you mean 'hinge'"),
        ({"training": {"epochs": 2.5}}, "training: epochs is 2.5; expected a whole number"),
        ({"training": {"epochs": 10**7}}, "training: epochs is 10000000; expected a whole number"),
        ({"training": {"time_limit": 0}}, "training: time_limit is 0; expected a number above 0"),
        ({"gradient_checks": [CHECK | {"l2": []}]}, "gradient_checks.0.l2: found []; expected"),
        ({"gradient_checks": [CHECK] * 2}, "two gradient checks are called c at l2 0"),
        ({"grid": 3}, "grid: expected a list of values for each hyperparameter"),
    ],
)
def test_a_mistake_names_its_key_what_was_found_and_what_would_be_right(changes, message):
    assert complaint(**changes).startswith(message)


def test_a_value_that_may_be_of_several_types_is_told_all_of_them():
    line = complaint(data={"dataset": "d", "validation": -1})
    assert line.startswith("data: validation is -1; expected a number above 0, or names")


def test_a_mistake_in_a_variant_names_the_variant():
    variant = {"name": "long", "title": "Longer", "training": {"epoch": 80}}
    assert complaint(variants=[variant]) == (
        "variant long: training: unknown key 'epoch'; did you mean 'epochs'?"
    )


def test_a_long_value_is_cut():
    assert len(complaint(title=list(range(1000)))) < 120
