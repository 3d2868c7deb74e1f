"""The threads of the libraries that multiply matrices: their number, and a limit."""

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def limited(threads: int | None) -> AbstractContextManager[Any]:
    """Limit these libraries to `threads` threads while a block runs; None changes nothing."""
    return _controller(len(sys.modules)).limit(limits=threads)  # type: ignore[no-any-return]


def pools() -> list[dict[str, Any]]:
    """Return the name and the current number of threads of each of these libraries."""
    return _controller(len(sys.modules)).info()  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _controller(modules: int) -> ThreadpoolController:
    # A search takes longer than the training of a small model; only new modules load new libraries.
    return ThreadpoolController()
