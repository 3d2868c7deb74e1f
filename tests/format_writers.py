"""Writes small images, labels and class names as each format's own library does.

Every writer takes a folder, X (N, H, W) uint8 and y (N,), and returns the path to load.
"""

import csv
import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from PIL import Image
from safetensors.numpy import save_file

NAMES = ("ant", "bee", "cat")


def make_images(N: int = 40, H: int = 4, W: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return X (N, H, W) whose first pixel is the number of its row, and y (N,)."""
    generator = np.random.default_rng(5)
    X = generator.integers(0, 256, (N, H, W), dtype=np.uint8)
    X[:, 0, 0] = np.arange(N)
    return X, np.arange(N) % len(NAMES)


def columns_of(X: np.ndarray, labels: list, label: str = "label") -> dict[str, list]:
    flat = X.reshape(len(X), -1)
    return {f"pixel{d}": flat[:, d] for d in range(flat.shape[1])} | {label: labels}


def named(y: np.ndarray) -> list[str]:
    return [NAMES[k] for k in y]


def write_npz(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    np.savez(folder / "a.npz", X=X, y=y, class_names=np.array(NAMES))
    return folder / "a.npz"


def write_npz_compressed(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write the names that Keras gives its arrays, strings as labels, features in Fortran order."""
    n = len(X) * 3 // 4
    names = np.array(named(y))
    np.savez_compressed(
        folder / "a.npz",
        x_train=np.asfortranarray(X[:n]), y_train=names[:n], x_test=X[n:], y_test=names[n:],
    )  # fmt: skip
    return folder / "a.npz"


def write_pair(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    np.save(folder / "a.X.npy", X.reshape(len(X), -1))
    np.save(folder / "a.y.npy", y)
    return folder / "a.X.npy"


def write_npy_folder(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    flat, thirds = X.reshape(len(X), -1), len(X) // 3
    for name, rows in {
        "train": slice(thirds), "validation": slice(thirds, 2 * thirds),
        "test": slice(2 * thirds, None),
    }.items():  # fmt: skip
        np.save(folder / f"{name}.X.npy", flat[rows])
        np.save(folder / f"{name}.y.npy", y[rows])
    (folder / "classes.txt").write_text("\n".join(NAMES))
    return folder


def write_safetensors(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    save_file(
        {"features": X, "labels": y}, folder / "a.safetensors", {"class_names": json.dumps(NAMES)}
    )
    return folder / "a.safetensors"


def write_csv(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    columns = columns_of(X, named(y), "Class")
    with (folder / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return folder / "a.csv"


def write_tsv(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write labels as numbers, in front."""
    table = np.column_stack([y, X.reshape(len(X), -1)])
    header = "\t".join(["y", *(f"pixel{d}" for d in range(table.shape[1] - 1))])
    np.savetxt(folder / "a.tsv", table, "%d", "\t", header=header, comments="")
    return folder / "a.tsv"


def write_semicolons(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write what Excel calls Unicode text where decimals have commas, labels as 0,0 and 1,0."""
    table = np.column_stack([X.reshape(len(X), -1), y])
    lines = [";".join(columns_of(X, y))]
    lines += [";".join(f"{value:.1f}".replace(".", ",") for value in row) for row in table]
    (folder / "a.txt").write_bytes("\r\n".join(["sep=;", *lines]).encode("utf-16"))
    return folder / "a.txt"


def write_csv_gz(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    content = write_csv(folder, X, y).read_bytes()
    (folder / "a.csv").unlink()
    (folder / "a.csv.gz").write_bytes(gzip.compress(content))
    return folder / "a.csv.gz"


def write_tsv_zip(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    path = write_tsv(folder, X, y)
    with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "data/a.tsv")
    path.unlink()
    return folder / "archive.zip"


def write_parquet(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    pa.parquet.write_table(pa.table(columns_of(X, named(y))), folder / "a.parquet")
    return folder / "a.parquet"


def write_parquet_list(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    features = pa.array(list(X.reshape(len(X), -1)))
    pa.parquet.write_table(
        pa.table({"embedding": features, "target": y}), folder / "a.parquet", row_group_size=16
    )
    return folder / "a.parquet"


def write_feather(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    labels = pa.array(named(y)).dictionary_encode()
    pa.feather.write_feather(
        pa.table(columns_of(X, labels)),
        folder / "a.feather",
        compression="lz4",
        chunksize=max(16, len(X) // 10),
    )
    return folder / "a.feather"


def write_arrow(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write fixed-size lists, not compressed, as NumPy's own bytes lie."""
    flat = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), X[0].size)
    table = pa.table({"features": flat, "labels": pa.array(named(y), pa.string_view())})
    with pa.ipc.new_file(folder / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=max(16, len(X) // 10))
    return folder / "a.arrow"


def idx(values: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_idx(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    n = len(X) * 3 // 4
    for prefix, rows in {"train": slice(n), "t10k": slice(n, None)}.items():
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(X[rows]))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(y[rows]))
    return folder


def write_idx_gz(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    for path in list(write_idx(folder, X, y).iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


def write_images(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    for row, (picture, name) in enumerate(zip(X, named(y), strict=True)):
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / name / f"{row:03}.png")
    return folder


def write_split_images(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    for split, rows in {"train": slice(0, None, 2), "val": slice(1, None, 2)}.items():
        (folder / split).mkdir()
        write_images(folder / split, X[rows], y[rows])
    return folder


def split_rows(N: int) -> dict[str, slice]:
    """Return the first three quarters of N rows to train, and the rest to test."""
    return {"train": slice(N * 3 // 4), "test": slice(N * 3 // 4, None)}


def write_arrow_stream(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write lists of lists beside a column of texts, as Hugging Face's datasets keep them."""
    flat = pa.array(X.reshape(-1))
    for size in X.shape[:0:-1]:
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    texts = pa.array([f"row {row}" for row in range(len(X))])
    table = pa.table({"id": texts, "image": flat, "label": pa.array(named(y))})
    with pa.ipc.new_stream(folder / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=max(16, len(X) // 10))
    return folder / "a.arrow"


def with_class_names(table: pa.Table, label: str = "label") -> pa.Table:
    """Return a table with the names of its classes as Hugging Face's datasets note them."""
    kind = {"names": list(NAMES), "_type": "ClassLabel"}
    about = {"info": {"features": {label: kind}}}
    return table.replace_schema_metadata({b"huggingface": json.dumps(about).encode()})


def write_saved_dataset(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write what DatasetDict.save_to_disk leaves: a folder a split, of shards."""
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for split, rows in split_rows(len(X)).items():
        (folder / split).mkdir()
        (folder / split / "state.json").write_text("{}")
        table = with_class_names(
            pa.table({"vector": list(X[rows].reshape(-1, X[0].size)), "label": y[rows]})
        )
        half = len(table) // 2
        for shard, part in enumerate((table[:half], table[half:])):
            path = folder / split / f"data-{shard:05}-of-00002.arrow"
            with pa.ipc.new_stream(path, table.schema) as writer:
                writer.write_table(part, max_chunksize=max(16, len(X) // 10))
    return folder


def png(picture: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return content.getvalue()


def write_hub_pictures(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write pictures in shards of Parquet, as a repository of the Hub holds them."""
    (folder / "README.md").write_text("# ants, bees and cats")
    (folder / "data").mkdir()
    for split, rows in split_rows(len(X)).items():
        cells = [{"bytes": png(picture), "path": None} for picture in X[rows]]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = with_class_names(pa.table({"img": pa.array(cells, kind), "fine": y[rows]}), "fine")
        half = len(table) // 2
        for shard, part in enumerate((table[:half], table[half:])):
            pa.parquet.write_table(part, folder / "data" / f"{split}-{shard:05}-of-00002.parquet")
    return folder


def unicode_of(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def numbers_of(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", number) for number in numbers) + b"t"


def bfloat16_of(X: np.ndarray) -> np.ndarray:
    """Return the upper halves of float32."""
    return (X.astype("<f4").view("<u4") >> 16).astype("<u2")


TORCH_TYPES = {"b1": "Bool", "u1": "Byte", "f2": "Half", "f4": "Float", "i8": "Long"}


def torch_tensor(
    key: int, stored: np.ndarray, shape: tuple = (), offset=0, strides: tuple = ()
) -> bytes:
    """Return the opcodes by which torch.save tells of a tensor; shape and strides are in values."""
    shape = shape or stored.shape
    strides = strides or tuple(s // stored.itemsize for s in stored.strides)
    kind = TORCH_TYPES.get(stored.dtype.str[1:], "BFloat16")
    storage = unicode_of("storage") + b"ctorch\n" + kind.encode() + b"Storage\n"
    storage += unicode_of(str(key)) + unicode_of("cpu") + b"J" + struct.pack("<i", stored.size)
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage + b"tQ"
        + b"J" + struct.pack("<i", offset) + numbers_of(shape) + numbers_of(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def torch_file(path: Path, program: bytes, storages: list[np.ndarray]) -> Path:
    """Write the archive of torch.save: a pickle, and the values."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + program + b".")
        archive.writestr("a/byteorder", "little")
        for key, values in enumerate(storages):
            archive.writestr(f"a/data/{key}", values.tobytes("A"))
        archive.writestr("a/version", "3\n")
    return path


def write_torch(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write features as a view that skips the first row of what is stored, and strings."""
    stored = np.concatenate([X[:1], X])
    strides = tuple(X.strides)
    program = b"}(" + unicode_of("train_features")
    program += torch_tensor(0, stored, X.shape, X[0].size, strides)
    program += unicode_of("train_labels") + torch_tensor(1, y.astype("i8"))
    program += unicode_of("class_names") + b"](" + b"".join(map(unicode_of, NAMES)) + b"eu"
    return torch_file(folder / "a.pt", program, [stored, y.astype("i8")])


def write_array_files(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    np.save(folder / "features.npy", np.asfortranarray(X))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in named(y)))
    return folder


def write_split_array_files(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write a folder a split, of files that hold a tensor, and names in another case."""
    for split, rows in split_rows(len(X)).items():
        (folder / split.upper()).mkdir()
        X_here, y_here = X[rows], y[rows].astype("i8")
        torch_file(folder / split.upper() / "X.pt", torch_tensor(0, X_here), [X_here])
        torch_file(folder / split.upper() / "y.pt", torch_tensor(0, y_here), [y_here])
    return folder


def write_split_csvs(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    for split, rows in split_rows(len(X)).items():
        write_csv(folder, X[rows], y[rows]).rename(folder / f"ants_{split}.csv")
    return folder


WRITERS = {
    writer.__name__.removeprefix("write_"): writer
    for writer in (
        write_npz, write_npz_compressed, write_pair, write_npy_folder, write_safetensors, write_csv,
        write_tsv, write_semicolons, write_csv_gz, write_tsv_zip, write_parquet,
        write_parquet_list, write_feather, write_arrow, write_idx,
        write_idx_gz, write_images, write_split_images, write_arrow_stream, write_saved_dataset,
        write_hub_pictures, write_torch, write_array_files, write_split_array_files,
        write_split_csvs,
    )
}  # fmt: skip
TEXT = {"csv", "tsv", "semicolons", "csv_gz", "tsv_zip", "split_csvs"}  # numbers become float64
UNNAMED = {
    "pair",
    "tsv",
    "semicolons",
    "tsv_zip",
    "parquet_list",
    "idx",
    "idx_gz",
    "split_array_files",
}  # classes are called by their numbers
PICTURES = {
    "npz", "npz_compressed", "safetensors", "idx", "idx_gz", "images", "split_images",
    "arrow_stream", "hub_pictures", "torch", "array_files", "split_array_files",
}  # fmt: skip
OWN_SPLITS = {
    "npy_folder": ("train", "validation", "test"),
    "npz_compressed": ("train", "test"),
    "idx": ("train", "test"),
    "idx_gz": ("train", "test"),
    "split_images": ("train", "validation"),
    "saved_dataset": ("train", "test"),
    "hub_pictures": ("train", "test"),
    "split_array_files": ("train", "test"),
    "split_csvs": ("train", "test"),
}
