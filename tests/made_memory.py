"""Train on a folder in a process of its own and print what the process says of its memory.

python made_memory.py FOLDER ORDER EPOCHS [LIMIT_IN_BYTES]
"""

import json
import resource
import sys
from pathlib import Path

from onelayer.data.catalog import load_dataset
from onelayer.training.hyperparameters import grid
from onelayer.training.loop import train


def anonymous_bytes() -> int:
    """Return the resident memory that is no file's."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line
    ]
    return int(line.split()[1]) * 1024


def main(folder: str, order: str, epochs: str, limit: str = "") -> None:
    """Print the training accuracy and the largest of the sizes seen at the end of epochs."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit), int(limit)))
    sizes = []
    data = load_dataset(folder)
    protocol = {"order": order, "epochs": int(epochs), "scaling": "standardise", "threads": 2}
    run = train(data, grid(), on_epoch=lambda *_: sizes.append(anonymous_bytes()), **protocol)
    record = {
        "anonymous": max(sizes),
        "accuracy": run.history.train_accuracy[0, -1],
        "rows": len(data.train),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main(*sys.argv[1:])
