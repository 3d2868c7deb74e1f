"""Every kind of mistake in a spec is told in the project's words: key, found, right."""

import pytest

from onelayer.errors import InputError
from onelayer.experiments.complaints import _EXPECTED, plain_words
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
        ({"training": {"epoch": 3}}, "unknown key of training 'epoch'; did you mean 'epochs'?"),
        ({"settings": [{}, {"l": 1}]}, "unknown key of settings.1 'l'; did you mean 'l2'?"),
        ({"data": {}}, "data.dataset: not given, and it has no default"),
        ({"data": {"dataset": "d", "scaling": "unt"}}, "unknown data.scaling 'unt'; did you mean"),
        ({"training": {"order": 3}}, "unknown training.order '3'; known: file, shuffled, windowed"),
        ({"data": 3}, "data: found 3; expected a table"),
        ({"title": 3}, "title: found 3; expected a text"),
        ({"settings": 3}, "settings: found 3; expected a list"),
        ({"settings": []}, "settings: found []; expected a list of 1 or more"),
        ({"settings": [{"nesterov": 3}]}, "settings.0.nesterov: found 3; expected true or false"),
        ({"settings": [{"l2": "x"}]}, "settings.0.l2: found 'x'; expected a number"),
        ({"settings": [{"momentum": 1}]}, "settings.0.momentum: found 1; expected a number below"),
        ({"settings": [{"momentum": -1}]}, "settings.0.momentum: found -1; expected a number from"),
        ({"settings": [{"loss": "hing"}]}, "settings.0: unknown loss 'hing'; did you mean 'hinge'"),
        ({"training": {"epochs": 2.5}}, "training.epochs: found 2.5; expected a whole number"),
        ({"training": {"epochs": 10**7}}, "training.epochs: found 10000000; expected a number up"),
        ({"training": {"time_limit": 0}}, "training.time_limit: found 0; expected a number above"),
        ({"gradient_checks": [CHECK | {"l2": []}]}, "gradient_checks.0.l2: found []; expected a"),
        ({"gradient_checks": [CHECK] * 2}, "two gradient checks are called c at l2 0"),
        ({"grid": 3}, "grid: expected a list of values for each hyperparameter"),
    ],
)
def test_a_mistake_names_its_key_what_was_found_and_what_would_be_right(changes, message):
    assert complaint(**changes).startswith(message)


def test_a_value_that_may_be_of_several_types_is_told_all_of_them():
    assert complaint(data={"dataset": "d", "validation": -1}) == (
        "data.validation: found -1; expected a text, a list or a number above 0"
    )
    assert complaint(training={"class_weight": "even"}) == (
        "training.class_weight: found 'even'; expected 'balanced' or a table"
    )


def test_a_mistake_within_one_of_several_types_is_told_where_it_is():
    assert complaint(training={"class_weight": {"cat": -1}}) == (
        "training.class_weight.cat: found -1; expected a number from 0"
    )
    assert complaint(data={"dataset": "d", "train": ["one", 2]}) == (
        "data.train.1: found 2; expected a text"
    )


def test_a_mistake_in_a_variant_names_the_variant():
    variant = {"name": "long", "title": "Longer", "training": {"epoch": 80}}
    assert complaint(variants=[variant]) == (
        "variant long: training: unknown key 'epoch'; did you mean 'epochs'?"
    )


def test_a_long_value_is_cut():
    assert len(complaint(title=list(range(1000)))) < 120


def test_every_kind_in_the_table_is_one_of_pydantics():
    from typing import get_args

    from pydantic_core.core_schema import ErrorType

    assert set(_EXPECTED) <= set(get_args(ErrorType))
