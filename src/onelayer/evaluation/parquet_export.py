"""Tables as Parquet for other programs, where pyarrow is installed."""

from pathlib import Path

from onelayer.evaluation.csv_export import Columns
from onelayer.storage import atomic_file


def write_parquet(columns: Columns, path: Path) -> None:
    """Write `columns` under their names, None and NaN as missing; nothing without pyarrow."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return  # an extra
    kinds = {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64()}
    arrays = {}
    for name, values in columns.items():
        kind = next((type(value) for value in values if value is not None), float)
        arrays[name] = pyarrow.array(values, kinds.get(kind, pyarrow.string()), from_pandas=True)
    with atomic_file(path) as temporary, temporary.open("wb") as file:  # of any name
        parquet.write_table(pyarrow.table(arrays), file)
