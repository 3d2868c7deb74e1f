"""CIFAR-100 in its three versions: binary, python (never unpickled) and matlab."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelayer.data.contents import Contents, Part
from onelayer.data.dataset import check_labels
from onelayer.data.formats import matlab, pickled
from onelayer.data.formats.cifar import IMAGE_SHAPE, PIXELS, read_records
from onelayer.errors import InputError

ROWS = {"train": 50_000, "test": 10_000}
_FINE = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab
crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
trout tulip turtle wardrobe whale willow_tree wolf woman worm"""
_COARSE = """aquatic_mammals fish flowers food_containers fruit_and_vegetables
household_electrical_devices household_furniture insects large_carnivores
large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores
medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1
vehicles_2"""
FINE_NAMES, COARSE_NAMES = tuple(_FINE.split()), tuple(_COARSE.split())
_SUFFIXES = (".bin", "", ".mat")

Reader = Callable[[Path, int, int, str], tuple[NDArray[np.uint8], list[int]]]


def find_cifar100(folder: Path) -> str | None:
    """Return the suffix of the files of the version in `folder`, or None."""
    for suffix in _SUFFIXES:
        if all((folder / f"{split}{suffix}").is_file() for split in ROWS):
            return suffix
    return None


def read_cifar100(folder: Path, coarse: bool = False) -> Contents:
    """Read the training and test images with their fine labels, or the coarse ones.

    Raises
    ------
    InputError
        If a file is not of the version in its name, or a label is out of range.
    """
    suffix = find_cifar100(folder)
    if suffix is None:
        raise InputError(f"{folder}: holds no CIFAR-100: train.bin and test.bin, or other versions")
    readers: dict[str, Reader] = {
        ".bin": _read_binary,
        "": pickled.read_batch,
        ".mat": matlab.read_batch,
    }
    names = COARSE_NAMES if coarse else FINE_NAMES
    parts = {}
    for split, rows in ROWS.items():
        path = folder / f"{split}{suffix}"
        kind = "coarse_labels" if coarse else "fine_labels"
        X, labels = readers[suffix](path, rows, PIXELS, kind)
        check_labels(str(path), labels, len(names))
        parts[split] = Part(X, np.array(labels))
    files = [folder / f"{split}{suffix}" for split in ROWS]
    return Contents(parts, names, IMAGE_SHAPE, files)


def _read_binary(
    path: Path, rows: int, columns: int, labels: str
) -> tuple[NDArray[np.uint8], list[int]]:
    """Read records of the coarse label, the fine label and the pixels."""
    records = read_records(path, rows, 2 + columns)
    return records[:, 2:], records[:, int(labels == "fine_labels")].tolist()
