"""Changes in stored records, behind the back of whatever wrote them."""

import json

from safetensors import safe_open
from safetensors.numpy import load_file, save_file


def read_record(path):
    """Return the JSON of a record, as it stands in the file."""
    if path.suffix == ".json":
        return json.loads(path.read_text("utf-8"))
    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["onelayer"])


def change_record(path, change=lambda record: record, arrays=lambda arrays: arrays):
    """Write a safetensors record again, with what two functions make of its JSON and its arrays."""
    header = read_record(path)
    header["record"] = change(header["record"])
    save_file(arrays(load_file(path)), path, {"onelayer": json.dumps(header)})
