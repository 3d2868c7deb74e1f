"""Writes records (N, 3073) in each version in which CIFAR-10 is passed around."""

import json
import struct
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def write_binary(folder: Path, parts: dict[str, np.ndarray]) -> None:
    for part, records in parts.items():
        (folder / f"{part}.bin").write_bytes(records.tobytes())


def write_python(folder: Path, parts: dict[str, np.ndarray]) -> None:
    for part, records in parts.items():
        (folder / part).write_bytes(pickled_batch(records))


def write_matlab(folder: Path, parts: dict[str, np.ndarray]) -> None:
    for i, (part, records) in enumerate(parts.items()):
        variables = {"data": records[:, 1:], "labels": records[:, :1], "batch_label": part}
        savemat(folder / f"{part}.mat", variables, do_compression=i % 2 == 0)


def write_png(folder: Path, parts: dict[str, np.ndarray]) -> None:
    for part, records in parts.items():
        colours = records[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1)
        Image.fromarray(np.ascontiguousarray(colours)).save(folder / f"{part}.png")
    labels = [int(label) for part in list(parts)[:-1] for label in parts[part][:, 0]]
    (folder / "train_lables.json").write_text(json.dumps(labels))
    (folder / "test_lables.json").write_text(json.dumps(parts["test_batch"][:, 0].tolist()))


WRITERS = {
    "binary": write_binary,
    "python": write_python,
    "matlab": write_matlab,
    "png": write_png,
}


def pack(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, f"some-folder/{path.name}")
    return archive


def short_string(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def number(value: int) -> bytes:
    if value < 256:
        return b"K" + bytes([value])
    return b"M" + struct.pack("<H", value) if value < 65536 else b"J" + struct.pack("<i", value)


def array(content: bytes, shape: tuple[int, ...], fortran: bool = False) -> bytes:
    """Emit what Python 2's cPickle wrote for an array of unsigned bytes (protocol 2)."""
    dtype = b"cnumpy\ndtype\nq\x06" + short_string("u1") + b"K\x00K\x01\x87Rq\x07"
    dtype += b"(K\x03" + short_string("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
        + (short_string("b") + b"\x87Rq\x05(K\x01(" + b"".join(map(number, shape)) + b"t")
        + (dtype + (b"\x88" if fortran else b"\x89"))
        + (b"T" + struct.pack("<i", len(content)) + content + b"tb")
    )


def batch(data: bytes, labels: bytes) -> bytes:
    """Emit the dictionary of a batch from the opcodes of its values."""
    return (
        b"\x80\x02}q\x01("
        + (short_string("data") + b"q\x02" + data + short_string("labels") + b"q\x08" + labels)
        + (short_string("batch_label") + b"q\x0a" + short_string("a batch") + b"u.")
    )


def label_list(labels: list[int]) -> bytes:
    return b"]q\x09(" + b"".join(map(number, labels)) + b"e"


def pickled_batch(records: np.ndarray, fortran: bool = False) -> bytes:
    content = records[:, 1:].tobytes("F" if fortran else "C")
    shape = (len(records), 3072)
    return batch(array(content, shape, fortran), label_list(records[:, 0].tolist()))
