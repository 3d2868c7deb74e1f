"""The examples in docstrings run and give what they show."""

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import onelayer

SOURCE = Path(onelayer.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_give_what_they_show(name):
    found = doctest.testmod(import_module(name), extraglobs={"np": np, "onelayer": onelayer})
    assert found.attempted > 0
    assert found.failed == 0
