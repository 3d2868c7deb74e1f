"""The threads of the libraries that multiply matrices: how many there are, and a limit of them."""

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def limited(threads: int | None) -> AbstractContextManager[Any]:
    """Let these libraries use so many threads while a block runs; None leaves them as they are."""
    return _controller(len(sys.modules)).limit(limits=threads)  # type: ignore[no-any-return]


def pools() -> list[dict[str, Any]]:
    """Return what each of these libraries is and how many threads it has now."""
    return _controller(len(sys.modules)).info()  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _controller(modules: int) -> ThreadpoolController:
    # To look for them takes longer than to train a small model; new ones come with new modules.
    return ThreadpoolController()
