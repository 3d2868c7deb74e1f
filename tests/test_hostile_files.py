"""Files made to harm: each ends in one line and exit status 2, in little time and memory.

Every command runs in a process of its own that may allocate 64 MB and compute for 10 seconds. That
no number in a file is believed before it is compared with the file's size, and that nothing in a
file is executed, is seen from outside. Pickles, archives and .npy headers: also in test_pickled.py,
test_archive.py and test_folder.py.
"""

import gzip
import io
import json
import os
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from safetensors.numpy import save

import format_writers
from bounded import ALLOWANCE, BoundedProcesses
from cifar_versions import array, batch, label_list, short_string
from format_writers import (
    NAMES,
    TEXT,
    WRITERS,
    idx,
    make_images,
    torch_file,
    torch_tensor,
    unicode_of,
)

X, Y = make_images()
FLAT = X.reshape(len(X), -1)
GIB = 1 << 30


@pytest.fixture(scope="module")
def bounded():
    with BoundedProcesses() as processes:
        yield processes


def test_the_limits_bite(bounded):
    assert bounded.run("allocate", ALLOWANCE // 2).status == 0
    assert bounded.run("allocate", ALLOWANCE * 5 // 4).status != 0


# --- CIFAR-100's python version ---------------------------------------------------------------


def pickled(content):
    def write(folder):
        for split in ("train", "test"):
            (folder / split).write_bytes(
                content(folder) if callable(content) else b"\x80\x02" + content + b"."
            )
        return folder

    return write


def call_system(folder):
    command = f"touch {folder / 'canary'}"
    return b"\x80\x02cos\nsystem\n" + short_string(command) + b"\x85R."


MEMO_BOMB = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))
HUGE_ARRAY = array(b"few", (2**31 - 1, 2**31 - 1)).replace(b"M\xff\xff", b"M\xff\xff")


# --- containers and headers ---------------------------------------------------------------------


def npy_header(descr="'<f8'", shape="(4, 3)", fortran="False"):
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 182) + text.ljust(181).encode() + b"\n"


def npz(members, packing=zipfile.ZIP_STORED):
    def write(folder):
        with zipfile.ZipFile(folder / "a.npz", "w", packing) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return folder / "a.npz"

    return write


def npy(values, **options):
    content = io.BytesIO()
    np.save(content, values, **options)
    return content.getvalue()


def endless_npz(folder):
    """Promise 256 MiB of zeros in a member of 256 KB."""
    members = {"X.npy": npy_header("'|u1'", f"({GIB // 4}, 1)") + bytes(GIB // 4), "y.npy": npy(Y)}
    return npz(members, zipfile.ZIP_DEFLATED)(folder)


def crowded_npz(folder):
    """Write a directory of members that takes far more memory than its file."""
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("X.npy", npy(X))
    content = (folder / "a.npz").read_bytes()
    place = content.index(b"PK\x01\x02")
    entry = content[place : content.index(b"PK\x05\x06")]
    entries = entry * 400_000
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(entries), place, 0)
    (folder / "a.npz").write_bytes(content[:place] + entries + end)
    return folder / "a.npz"


def named(name, content):
    def write(folder):
        (folder / name).write_bytes(content(folder) if callable(content) else content)
        return folder / name

    return write


def with_idx(name, change):
    def write(folder):
        format_writers.write_idx(folder, X, Y)
        path = folder / name
        path.write_bytes(change(path.read_bytes()))
        return folder

    return write


ZEROS = gzip.compress(bytes(1 << 24), 1)


DIGITS = gzip.compress(b"0" * (1 << 24))
LINES = gzip.compress((b"0" * 4093 + b",2\n") * (1 << 12))


def two_tables(folder):
    with zipfile.ZipFile(folder / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", "x,label")
        archive.writestr("b.csv", "x,label")
    return folder / "a.csv.zip"


def gzip_bomb(header):
    """Let the images unpack to 1 GiB of zeros, whatever the header says."""

    def write(folder):
        format_writers.write_idx_gz(folder, X, Y)
        path = folder / "train-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(header) + ZEROS * 64)
        return folder

    return write


def tensors(header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return named("a.safetensors", struct.pack("<Q", len(text)) + text + content)


def tensor(shape, offsets, kind="F32"):
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}


def torch_program(program, *storages):
    return lambda folder: torch_file(folder / "a.pt", program, list(storages))


def torch_pair(X, y):
    return b"}(" + unicode_of("X") + X + unicode_of("y") + y + b"u"


LABELS = np.arange(40)
FEW = np.ones(4, np.float32)
TORCH_Y = torch_tensor(1, LABELS)


def packed_torch(folder):
    """Let the features unpack to 32 MiB."""
    program = torch_pair(torch_tensor(0, FEW, (1 << 23, 1), 0, (1, 1)).replace(*SIXTEEN), TORCH_Y)
    path = torch_file(folder / "a.pt", program, [])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data/0", bytes(1 << 25))
    return path


SIXTEEN = b"J" + struct.pack("<i", 4) + b"tQ", b"J" + struct.pack("<i", 1 << 23) + b"tQ"


def stream(change):
    def write(folder):
        path = format_writers.write_arrow_stream(folder, X, Y)
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def picture_in_every_row(folder):
    """Write one picture of 100 KB 1,000 times, which a dictionary of Parquet holds once."""
    noise = np.random.default_rng(0).integers(0, 256, (180, 180, 3), dtype=np.uint8)
    cells = pa.array([{"bytes": format_writers.png(noise)}] * 1000)
    return parquet(image=cells, label=np.arange(1000) % 2)(folder)


def parquet(**columns):
    def write(folder):
        pa.parquet.write_table(pa.table(columns), folder / "a.parquet")
        return folder / "a.parquet"

    return write


def shared_text(folder):
    """Let 100,000 rows of 16 bytes view one and the same text of 10 MB."""
    text = pa.py_buffer(b"x" * 10_000_000)
    view = struct.pack("<i4sii", len(text), b"xxxx", 0, 0)
    views = pa.py_buffer(view * 100_000)
    labels = pa.Array.from_buffers(pa.string_view(), 100_000, [None, views, text])
    table = pa.table({"x": np.arange(100_000.0), "label": labels})
    with pa.ipc.new_file(folder / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    return folder / "a.arrow"


def parquet_of_runs(folder):
    """Write 2^26 equal values, which a Parquet file packs into some hundred bytes."""
    zeros = pa.array(np.zeros(1 << 26))
    pa.parquet.write_table(
        pa.table({"x": zeros, "label": zeros}), folder / "a.parquet", compression="zstd"
    )
    return folder / "a.parquet"


# --- pictures -----------------------------------------------------------------------------------


def pictures(name, content):
    def write(folder):
        format_writers.write_images(folder, X, Y)
        path = folder / NAMES[0] / name
        path.unlink(missing_ok=True)
        content(path) if callable(content) else path.write_bytes(content)
        return folder

    return write


def png_chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_of(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", pixels)
        + png_chunk(b"IEND", b"")
    )


def jpeg():
    content = io.BytesIO()
    Image.fromarray(X[0]).save(content, "JPEG")
    return content.getvalue()


def jpeg_of(width, height):
    content = jpeg()
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def jpeg_of_scans(n):
    """Repeat the last scan of a progressive picture of 1,000 × 1,000."""
    content = io.BytesIO()
    Image.new("L", (1000, 1000)).save(content, "JPEG", progressive=True)
    last = content.getvalue()[content.getvalue().rindex(b"\xff\xda") : -2]
    return content.getvalue()[:-2] + last * n + b"\xff\xd9"


WEBP = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n(canary) (w) file closefile\n%%EOF\n"


# --- things that are no files -------------------------------------------------------------------


def loop(folder):
    (folder / "a.csv").symlink_to(folder / "b.csv")
    (folder / "b.csv").symlink_to(folder / "a.csv")
    return folder / "a.csv"


def looping_folder(folder):
    (folder / "cat").symlink_to(folder)
    (folder / "x.png").symlink_to(folder / "x.png")
    return folder


def fifo(name):
    def write(folder):
        os.mkfifo(folder / name)
        return folder / name

    return write


def fifo_in(form, name):
    def write(folder):
        path = WRITERS[form](folder, X, Y)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        return path

    return write


def device(path):
    (path).symlink_to("/dev/zero")


def sparse_file(name, head=b""):
    def write(folder):
        (folder / name).write_bytes(head)
        os.truncate(folder / name, 1 << 40)
        return folder / name

    return write


def csv_of(*lines):
    return named("a.csv", "\n".join(lines).encode())


def write_shards(folder):
    for shard in range(3):
        (folder / f"train-0000{shard}-of-00003.csv").write_text("\n".join(["x,y", *GOOD_CSV]))
    return folder


GOOD_CSV = [f"{n},{n % 2}" for n in range(9)]

CASES = {
    "a global that calls os.system": (pickled(call_system), "refuses the global 'os system'"),
    "tuples doubled through the memo": (pickled(MEMO_BOMB), "test|train: byte"),
    "an array of a huge shape": (
        pickled(batch(HUGE_ARRAY, label_list([1]))[2:-1]), "byte"
    ),
    "a string longer than the file": (pickled(b"T\xff\xff\xff\x7ffew"), "cut short"),
    "a .npz of objects": (
        npz({"X.npy": npy(X.astype(object), allow_pickle=True), "y.npy": npy(Y)}),
        "X: holds object, expected plain numbers",
    ),
    "labels that are objects": (
        npz({"X.npy": npy(X), "y.npy": npy(Y.astype(object), allow_pickle=True)}),
        "y: holds object",
    ),
    "a .npy header that asks for 32 GiB": (
        npz({"X.npy": npy_header(shape=f"({4 * GIB}, 1)") + bytes(64), "y.npy": npy(Y)}),
        "X: holds 256 bytes, its header promises 34,359,738,560",
    ),
    "a shape beyond all numbers": (
        npz({"X.npy": npy_header(shape=f"({10**30}, {10**30})"), "y.npy": npy(Y)}), "promises"
    ),
    "a shape of no bytes": (
        npz({"X.npy": npy(X), "y.npy": npy_header("'<U0'", f"({10**15},)")}), "y: holds <U0"
    ),
    "a .npy file that asks for 32 GiB": (
        named("a.X.npy", npy_header(shape=f"({4 * GIB}, 1)") + bytes(64)), "its header promises"
    ),
    "a zip bomb": (endless_npz, "unpacks to 268,"),
    "a zip's directory of 400,000 members": (crowded_npz, "asks for 20,"),
    "a member in another folder": (
        npz({"../X.npy": npy(X), "y.npy": npy(Y)}), "a member called '../X'"
    ),
    "a member packed in another way": (
        npz({"X.npy": npy(X), "y.npy": npy(Y)}, zipfile.ZIP_LZMA), "packed in a way"
    ),
    "fewer labels than rows": (
        npz({"X.npy": npy(X), "y.npy": npy(Y[1:])}),
        "features of the shape (40, 4, 3), labels of 39",
    ),
    "a label out of range": (
        npz({"X.npy": npy(X), "y.npy": npy(Y + 1), "class_names.npy": npy(np.array(NAMES))}),
        "has the label 3, expected 0 to 2",
    ),
    "an unknown class": (
        npz({"X.npy": npy(X), "y.npy": npy(np.array(["ant", "boa"] * 20)),
             "class_names.npy": npy(np.array(NAMES))}),
        "the label 'boa' is not one of the classes",
    ),
    "one class only": (
        npz({"X.npy": npy(X), "y.npy": npy(Y * 0)}), "all training samples are of one class"
    ),
    "a class name with an escape": (
        npz({"X.npy": npy(X), "y.npy": npy(Y),
             "class_names.npy": npy(np.array(["a", "b", "\x1b]0;c"]))}),
        "cannot be seen, U+001B",
    ),
    "a class name that runs backwards": (
        csv_of("x,label", *(f"{n},{'gnp'[n % 3]}\u202e" for n in range(9))),
        "cannot be seen, U+202E",
    ),
    "IDX of another type": (
        with_idx("train-images-idx3-ubyte", lambda raw: b"\0\0\x0d" + raw[3:]),
        "begins with 00 00 0d 03, expected 00 00 08 03",
    ),
    "IDX whose lengths overflow": (
        with_idx("train-images-idx3-ubyte", lambda raw: raw[:4] + b"\xff" * 12 + raw[16:]),
        "its header promises 79,228,162,458,924,105,385,300,197,375 bytes",
    ),
    "IDX with bytes behind its end": (
        with_idx("train-images-idx3-ubyte", lambda raw: raw + b"x"), "but more follow"
    ),
    "IDX cut short": (
        with_idx("t10k-images-idx3-ubyte", lambda raw: raw[:-1]), "but 119 follow"
    ),
    "IDX with fewer labels": (
        with_idx("train-labels-idx1-ubyte", lambda raw: idx(Y[:29])),
        "features of the shape (30, 4, 3), labels of 29",
    ),
    "a .gz that unpacks to 1 GiB": (gzip_bomb(idx(X[:10])), "but more follow"),
    "a .gz that promises 1 GiB": (
        gzip_bomb(struct.pack(">BBBB3I", 0, 0, 8, 3, GIB, 1, 1)),
        "its header promises 1,073,741,824 bytes",
    ),
    "safetensors with a header of 1 TiB": (
        named("a.safetensors", struct.pack("<Q", 1 << 40) + b"{}"), "not a safetensors file"
    ),
    "safetensors of a tensor beyond the file": (
        tensors({"X": tensor([1 << 40, 1], [0, 1 << 42]), "y": tensor([4], [0, 16])}, bytes(64)),
        "not a safetensors file",
    ),
    "safetensors of overlapping tensors": (
        tensors({"X": tensor([4, 1], [0, 16]), "y": tensor([4], [8, 24])}, bytes(24)),
        "not a safetensors file",
    ),
    "safetensors in deep brackets": (tensors(b"[" * 50_000), "not a safetensors file"),
    "safetensors of a type that NumPy lacks": (
        tensors({"X": tensor([4, 2], [0, 8], "F8_E5M2"), "y": tensor([4], [8, 24])}, bytes(24)),
        "X is of F8_E5M2, expected BF16 or BOOL",
    ),
    "safetensors with names that are none": (
        named("a.safetensors", save({"X": X, "y": Y}, {"class_names": "[" * 100_000})),
        "not a safetensors file",
    ),
    "Parquet with missing labels": (
        parquet(x=[1.0, 2.0, 3.0, 4.0], label=[0, 1, None, 1]),
        "row 2, column 'label', has no label",
    ),
    "Parquet with missing numbers of a byte": (
        parquet(x=pa.array([1, None, 3, 4], pa.uint8()), label=[0, 1, 0, 1]), "a missing value"
    ),
    "Parquet with strings": (
        parquet(x=["a", "b", "c", "d"], label=[0, 1, 0, 1]), "'x' holds string, expected numbers"
    ),
    "Parquet with ragged lists": (
        parquet(x=[[1.0], [2.0, 3.0], [1.0], [1.0]], label=[0, 1, 0, 1]), "holds lists of different"
    ),
    "Parquet with a missing list": (
        parquet(x=[[1.0], None, [1.0], [1.0]], label=[0, 1, 0, 1]), "holds lists of different"
    ),
    "Parquet with a long text in every row": (
        parquet(x=np.arange(2000.0), label=["x" * 1_000_000] + ["y"] * 1999),
        "a label of 1,000,000 bytes",
    ),
    "Arrow with a text that every row shows": (shared_text, "a label of 10,000,000 bytes"),
    "Parquet of 2^26 equal rows": (parquet_of_runs, "67,108,864 rows of 1 values take"),
    "a picture of 100 KB in every row": (picture_in_every_row, "pictures take more than a file of"),
    "Parquet of what are no pictures": (
        parquet(image=[b"x", b"y", b"x", b"y"], label=[0, 1, 0, 1]), "row 0: a text; expected PNG"
    ),
    "Parquet of paths to pictures": (
        parquet(image=[{"bytes": None, "path": "/etc/hostname"}] * 4, label=[0, 1, 0, 1]),
        "row 0 holds no picture|holds struct",
    ),
    "a stream cut short": (stream(lambda raw: raw[:-300]), "not an Arrow file"),
    "a stream with a header of 2 GB": (
        stream(lambda raw: raw[:4] + b"\xff\xff\xff\x7f" + raw[8:]), "not an Arrow file"
    ),
    "a tensor file that calls os.system": (
        torch_program(b"cos\nsystem\n(" + unicode_of("touch canary") + b"tR"), "holds 'os system'"
    ),
    "a tensor of 2^62 equal values": (
        torch_program(torch_pair(torch_tensor(0, FEW, (1 << 30, 1 << 30), 0, (0, 0)), TORCH_Y),
                      FEW, LABELS),
        "bytes, expected at most",
    ),
    "a tensor beyond what is stored": (
        torch_program(torch_pair(torch_tensor(0, FEW, (40, 4), 0, (4, 1)), TORCH_Y), FEW, LABELS),
        "more than is stored",
    ),
    "a tensor whose values are missing": (
        torch_program(torch_pair(torch_tensor(7, FEW), TORCH_Y), FEW, LABELS), "no 'data/7' in it"
    ),
    "a tensor file that unpacks to 32 MB": (packed_torch, "X: takes 33,554,432 bytes"),
    "tensors nested through the memo": (torch_program(MEMO_BOMB), "byte"),
    "a shard is missing": (
        lambda folder: (write_shards(folder) / "train-00001-of-00003.csv").unlink() or folder,
        "of the 3 shards of train number 1 is missing",
    ),
    "labels.txt with a gap": (
        lambda folder: (np.save(folder / "X.npy", FLAT),
                        (folder / "y.txt").write_text("a\n\nb\n"), folder)[2],
        "y.txt: line 2 is empty",
    ),
    "a .zip": (named("a.zip", b"PK\x03\x04"), "an archive; unpack it first"),
    "Parquet without its end": (
        named("a.parquet", lambda f: format_writers.write_parquet(f, X, Y).read_bytes()[:-9]),
        "not a Parquet file",
    ),
    "Arrow without its end": (
        named("a.arrow", lambda f: format_writers.write_feather(f, X, Y).read_bytes()[:-9]),
        "not an Arrow file",
    ),
    "CSV with a cell too many": (csv_of("x,label", "1,2,3"), "row 0 has 3 cells, expected 2"),
    "CSV with a word for a number": (
        csv_of("x,label", "1,0", "one,1"), "row 1, column 'x', holds 'one', expected a number"
    ),
    "CSV without names": (csv_of(*GOOD_CSV), "column 1 is called '0'; the first line must name"),
    "CSV of a text index": (csv_of("names,x,label", "a,1,1"), "column 'names', holds 'a'"),
    "CSV without a label": (csv_of("x,label", "1,"), "row 0, column 'label', has no label"),
    "a .csv.gz that unpacks to 1 GiB": (
        named("a.csv.gz", lambda _: gzip.compress(b"x,label\n") + DIGITS * 64),
        "unpacks to more than|a line has more than",
    ),
    "a .csv.gz of short lines that unpacks to 1 GiB": (
        named("a.csv.gz", lambda _: gzip.compress(b"x,label\n") + LINES * 64),
        "unpacks to more than",
    ),
    "a .csv.zip of two tables": (two_tables, "the archive holds 2 files, expected one table"),
    "CSV in UTF-16 cut within a letter": (
        named("a.csv", "x,label\n1,a".encode("utf-16")[:-1]), "cannot be read as CSV"
    ),
    "CSV in Latin-1": (
        named("a.csv", "x,label\n1,caf\xe9".encode("latin-1")), "line 2 holds the byte 0xE9"
    ),
    "CSV with a class of two lines": (
        csv_of("x,label", '1,"a\nb"', "2,c", "3,c", "4,c"), "cannot be seen, U+000A"
    ),
    "a workbook": (named("a.xlsx", b"PK\x03\x04"), "a spreadsheet, which is not read"),
    "CSV that is no text": (named("a.csv", bytes(range(256)) * 9), "cannot be read as CSV"),
    "CSV of one line without end": (sparse_file("a.csv", b"x,label\n"), "CSV|characters"),
    "an open quote": (csv_of("x,label", '"1,0' + "\n" * 200_000), "cannot be read as CSV"),
    "a picture of 65,535 × 65,535": (
        pictures("000.png", png_of(65_535, 65_535)), "a PNG of too many pixels"
    ),
    "a picture of 9,000 × 9,000 in a small file": (
        pictures("000.png", png_of(9000, 9000)), "more than a file of its size can hold"
    ),
    "a JPEG of 65,500 × 65,500": (
        pictures("000.jpg", jpeg_of(65_500, 65_500)), "a JPEG of too many pixels"
    ),
    "a truncated JPEG": (
        pictures("000.png", jpeg()[:-10]),
        "000.png: a JPEG cut short",
    ),
    "a JPEG of 30,000 scans": (pictures("000.jpg", jpeg_of_scans(30_000)), "more than 100 scans"),
    "a WebP of 16,383 × 16,383": (pictures("000.webp", WEBP), "a WebP of too many pixels|damaged"),
    "an EPS named .png": (pictures("000.png", EPS), "000.png: a PostScript document"),
    "pictures of two sizes": (
        pictures("000.png", lambda path: Image.new("L", (5, 5)).save(path)), "--resize 4,3 makes"
    ),
    "something else among the pictures": (
        pictures("readme.txt", b"x"), "readme.txt: a text; expected PNG"
    ),
    "a folder of pictures with an escape in its name": (
        lambda folder: (format_writers.write_images(folder, X, Y) / "bee").rename(
            folder / "\x1b[2Jbee") and folder,
        "cannot be seen, U+001B",
    ),
    "a pipe among the pictures": (pictures("000.png", os.mkfifo), "000.png: no such file"),
    "a device among the pictures": (pictures("000.png", device), "000.png: no such file"),
    "a symlink loop": (loop, "a.csv: no such file"),
    "a folder in itself": (looping_folder, "a folder among the pictures"),
    "a pipe": (fifo("a.csv"), "or a device or pipe"),
    "a pipe instead of labels": (
        fifo_in("idx", "train-labels-idx1-ubyte"), "train-labels-idx1-ubyte: no such file"
    ),
    "a device": (lambda folder: "/dev/zero", "/dev/zero: no such file or folder, or a device"),
    "an empty folder": (lambda folder: folder, "a folder with no data set in it; expected"),
    "an empty file": (named("a.csv", b""), "expected a first line with the names"),
    "1 TiB of nothing": (sparse_file("a.safetensors"), "not a safetensors file"),
    "1 TiB behind a .npz's first bytes": (sparse_file("a.npz", b"PK\x03\x04"), "not a .npz file"),
    "a .tar.gz that is none": (
        named("a.tar.gz", b"no archive"), "a.tar.gz: of no known format"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("write", "words"), CASES.values(), ids=CASES.keys())
def test_what_harms_ends_in_one_line_soon_and_in_little_memory(bounded, tmp_path, write, words):
    path = write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    outcome = bounded.run("data", "info", path)
    assert outcome.status == 2, outcome
    assert outcome.error.startswith("onelayer: "), outcome
    assert outcome.error.count("\n") == 1
    assert outcome.error.isprintable() or outcome.error[:-1].isprintable()
    assert any(word in outcome.error for word in words.split("|")), outcome
    assert sorted(tmp_path.rglob("*")) == before  # no canary


def test_a_comment_of_64_mb_is_not_read(bounded, tmp_path):
    comment = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(1 << 26), 1))
    path = pictures("000.png", lambda path: Image.fromarray(X[0]).save(path))(tmp_path)
    picture = path / NAMES[0] / "000.png"
    content = picture.read_bytes()
    picture.write_bytes(content[:33] + comment + content[33:])  # behind the header
    assert bounded.run("data", "info", path).status == 0


def test_missing_values_end_a_training_in_one_line(bounded, tmp_path):
    values, labels = [None, *map(float, range(39))], [0, 1] * 20
    path = parquet(x=values, label=labels)(tmp_path)
    outcome = bounded.run("train", path, "--plan", allowance=1 << 29)
    assert (outcome.status, outcome.error.count("\n")) == (2, 1), outcome
    assert "row 0, column 'x', holds a value that is not finite" in outcome.error


SIZES = {  # (N, H, W): 8 to 16 MB as they are read
    **dict.fromkeys(WRITERS, (8_000, 40, 50)),
    **dict.fromkeys(TEXT, (2_000, 25, 20)),  # numbers of 8 bytes: 8 MB
    **dict.fromkeys(("parquet", "feather"), (80_000, 10, 10)),
    **dict.fromkeys(("images", "split_images", "hub_pictures"), (200, 280, 286)),
}


@pytest.mark.parametrize("form", WRITERS)
def test_memory_is_at_most_twice_what_the_samples_take_and_64_mb(bounded, tmp_path, form):
    N, H, W = SIZES[form]
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (N, H, W), dtype=np.uint8)
    path = WRITERS[form](tmp_path, images, np.arange(N) % 3)
    size = N * H * W * (8 if form in TEXT else 1)
    outcome = bounded.run("data", "info", path, allowance=2 * size + ALLOWANCE)
    assert outcome.status == 0, outcome
