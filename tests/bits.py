"""All that a result holds, to be compared bit for bit with another one."""

from dataclasses import fields, is_dataclass

import numpy as np


def bits(found):
    """Return what a result holds, but where and when it was made."""
    if isinstance(found, np.ndarray):
        return found.dtype.str, found.shape, found.tobytes()
    if is_dataclass(found):
        found = {each.name: getattr(found, each.name) for each in fields(found)}
    if isinstance(found, dict):
        return {name: bits(one) for name, one in found.items() if name != "provenance"}
    return [bits(one) for one in found] if isinstance(found, list | tuple) else repr(found)
