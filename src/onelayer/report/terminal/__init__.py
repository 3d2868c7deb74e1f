"""What is printed on a terminal, or into a pipe."""

from typing import Any

from rich.table import Table


def plain_table(*columns: str, **options: Any) -> Table:
    """Return a table without lines; `options` are those of rich's Table."""
    return Table(*columns, box=None, padding=(0, 2, 0, 0), **options)
