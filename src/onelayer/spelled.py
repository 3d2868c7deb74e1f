"""Settings for somebody else's code, whichever way it asks for them."""

import re
from typing import Any


class Spelled(dict[str, Any]):
    """Settings that are found by any spelling of their names, as attributes, or in their order."""

    def __init__(self, patterns: dict[str, str], values: dict[str, Any]) -> None:
        super().__init__(values)
        self.patterns = patterns

    def __missing__(self, key: Any) -> Any:
        if isinstance(key, int):
            return [*self.values()][key]
        for name, pattern in self.patterns.items():
            if re.fullmatch(pattern, str(key).strip("_").lower()):
                return self[name]
        raise KeyError(key)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __iter__(self) -> Any:
        return iter([*self.values()])

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of any spelling of the key."""
        try:
            return self[key]
        except (KeyError, IndexError):
            return default
