"""The scikit-learn face: a classifier and a search over its settings; needs scikit-learn."""

from importlib.util import find_spec

from onelayer.errors import InputError

if find_spec("sklearn") is None:
    raise InputError("this needs scikit-learn: pip install 'onelayer[sklearn]'")
