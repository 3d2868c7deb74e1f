"""Damages small valid files of every format and reads them: data or an InputError, nothing else.

python tests/fuzz_readers.py --cases 100000 --first 0

Case n is drawn from the seed n alone. It runs under an alarm, in a worker with little memory; what
crashes, hangs, warns or raises anything else is kept in fuzz-failures/, by its seed.
"""

import argparse
import gzip
import io
import multiprocessing
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from bounded import data_bytes
from cifar_versions import WRITERS as CIFAR10_WRITERS
from cifar_versions import array, batch, label_list, short_string
from format_writers import NAMES, WRITERS, make_images
from onelayer.data.formats import cifar, cifar100
from onelayer.data.formats.registry import read_dataset
from onelayer.errors import InputError

SECONDS = 5  # a case
STALLED = 30  # seconds after which a worker that obeys no alarm is killed
MEMORY = 512 << 20  # bytes beyond what was imported
N = 6  # samples in each part of CIFAR
WORKERS = os.cpu_count() or 1


UNREAD = {"README.md", "dataset_dict.json", "state.json"}  # lie beside what is read


class Hang(BaseException):
    """Raised by the alarm; no reader can take it for an error of its file."""


@dataclass(frozen=True)
class Format:
    """A valid file or folder of a format, and its reader."""

    path: Path
    read: Callable[[Path], object]

    @property
    def files(self) -> list[Path]:
        """The files that can be damaged."""
        if self.path.is_file() and not self.path.name.endswith(".X.npy"):
            return [self.path]
        folder = self.path if self.path.is_dir() else self.path.parent
        return sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in UNREAD)


def lay_out(folder: Path) -> dict[str, Format]:
    """Write one of every format into its own folder under `folder`."""
    formats = {}
    images, labels = make_images(12)
    for name, write in WRITERS.items():
        (folder / name).mkdir()
        formats[name] = Format(write(folder / name, images, labels), read_dataset)
    generator = np.random.default_rng(0)
    records = generator.integers(0, 256, (N, 3074), dtype=np.uint8) % 10
    cifar100.ROWS = {"train": N, "test": N}
    for name, write in CIFAR100_WRITERS.items():
        (folder / name).mkdir()
        for split in cifar100.ROWS:
            write(folder / name / split, records)
        formats[name] = Format(folder / name, read_dataset)
    (folder / "pictures").mkdir()
    formats["pictures"] = Format(write_pictures(folder / "pictures", images, labels), read_dataset)
    parts = dict.fromkeys(("data_batch_1", "test_batch"), records[:, 1:])
    for version in cifar.VERSIONS:
        place = folder / f"cifar10_{version.name}"
        place.mkdir()
        CIFAR10_WRITERS[version.name](place, parts)
        if version.name == "png":  # the labels of all five parts are in one file
            (place / "train_lables.json").write_text(str(records[:, 1].tolist() * 5))
        formats[place.name] = Format(
            place, lambda path, read=version.read: [read(path, part, N) for part in parts]
        )
    return formats


def write_pictures(folder: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """Write pictures of every kind that is read, with all that is left out of them."""
    exif = Image.Exif()
    exif[0x0112] = 3
    for row, (image, k) in enumerate(zip(X, y, strict=True)):
        kind = KINDS[row % len(KINDS)]
        (folder / NAMES[k]).mkdir(exist_ok=True)
        Image.fromarray(image).convert(MODES[row % len(MODES)]).save(
            folder / NAMES[k] / f"{row}.{kind.lower()}",
            kind,
            exif=exif,
            comment=b"n",
            **EXTRA[kind],
        )
    return folder


KINDS, MODES = ("PNG", "JPEG", "GIF", "BMP", "WebP"), ("L", "RGB", "1")
EXTRA = {
    "PNG": {},
    "JPEG": {"progressive": True},
    "GIF": {"save_all": True, "append_images": [Image.new("L", (3, 4))]},
    "BMP": {},
    "WebP": {"lossless": True},
}


def _binary(path: Path, records: np.ndarray) -> None:
    path.with_suffix(".bin").write_bytes(records.tobytes())


def _matlab(path: Path, records: np.ndarray) -> None:
    fields = {"data": records[:, 2:], "fine_labels": records[:, 1:2]}
    savemat(path.with_suffix(".mat"), fields, do_compression=path.name == "test")


def _python(path: Path, records: np.ndarray) -> None:
    content = batch(array(records[:, 2:].tobytes(), (N, 3072)), label_list(records[:, 1].tolist()))
    path.write_bytes(content.replace(short_string("labels"), short_string("fine_labels")))


CIFAR100_WRITERS = {
    "cifar100_binary": _binary, "cifar100_matlab": _matlab, "cifar100_python": _python
}  # fmt: skip


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """Return the bytes with one to three random damages."""
    for _ in range(generator.integers(1, 4)):
        content = DAMAGES[generator.integers(len(DAMAGES))](bytearray(content), generator)
    return content


def flip_bits(content: bytearray, generator: np.random.Generator) -> bytes:
    for place in generator.integers(0, max(len(content), 1), generator.integers(1, 9)):
        if content:
            content[place] ^= 1 << generator.integers(8)
    return bytes(content)


def truncate(content: bytearray, generator: np.random.Generator) -> bytes:
    return bytes(content[: generator.integers(len(content) + 1)])


def splice(content: bytearray, generator: np.random.Generator) -> bytes:
    """Put a piece of the content somewhere else, over what is there or between it."""
    source, target = generator.integers(0, len(content) + 1, 2)
    size = int(generator.choice([1, 4, 16, 64, 1024]))
    replaced = size if generator.integers(2) else 0
    piece = content[source : source + size] * int(generator.choice([1, 1, 1, 50]))
    return bytes(content[:target] + piece + content[target + replaced :])


def cut_out(content: bytearray, generator: np.random.Generator) -> bytes:
    start, size = generator.integers(len(content) + 1), int(generator.choice([1, 2, 8, 100]))
    return bytes(content[:start] + content[start + size :])


EXTREMES = (0, 1, -1, 2**7, 2**15 - 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**63 - 1, -(2**63))


def put_extreme(content: bytearray, generator: np.random.Generator) -> bytes:
    """Write an extreme number over 1, 2, 4 or 8 bytes, in either order; near the ends, mostly."""
    size = int(generator.choice([1, 2, 4, 8]))
    number = int(EXTREMES[generator.integers(len(EXTREMES))]) % (1 << 8 * size)
    near = int(generator.integers(0, min(len(content), 200) + 1))
    places = (near, max(len(content) - near, 0), int(generator.integers(len(content) + 1)))
    place = places[generator.integers(3)]
    order = ("little", "big")[generator.integers(2)]
    content[place : place + size] = number.to_bytes(size, order)
    return bytes(content)


def put_text(content: bytearray, generator: np.random.Generator) -> bytes:
    """Put a text that means something to some format over or between what is there."""
    text = TEXTS[generator.integers(len(TEXTS))]
    place = int(generator.integers(len(content) + 1))
    content[place : place + (len(text) if generator.integers(2) else 0)] = text
    return bytes(content)


TEXTS = (
    b"nan", b"-1", b"1e999", b"9" * 30, b'"', b",", b"\n", b"\r", b"\0", b"(", b"[", b"{", b"|O",
    b"<f8", b"cos\nsystem\n", b"R", b"../", b"\xff\xfe", b"\xe2\x80\xae", b"null", b"train", b" ",
)  # fmt: skip
DAMAGES = (flip_bits, flip_bits, truncate, splice, cut_out, put_extreme, put_extreme, put_text)


def damage(name: str, content: bytes, generator: np.random.Generator) -> bytes:
    """Damage a file: as it lies, or, where a checksum would tell, below the checksum."""
    if generator.integers(3):
        if name.endswith(".gz"):
            return gzip.compress(mutate(gzip.decompress(content), generator), 1)
        if name.endswith((".npz", ".pt", ".zip")):
            return _damage_members(content, generator)
        if name.endswith(".png"):
            return _damage_chunks(content, generator)
    return mutate(content, generator)


def _damage_members(content: bytes, generator: np.random.Generator) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w") as new:
        hit = generator.integers(len(old.infolist()))
        for place, member in enumerate(old.infolist()):
            inner = old.read(member)
            new.writestr(
                member.filename,
                mutate(inner, generator) if place == hit else inner,
                member.compress_type,
            )
    return result.getvalue()


def _damage_chunks(content: bytes, generator: np.random.Generator) -> bytes:
    chunks, place = [], 8
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    hit = generator.integers(len(chunks))
    kind, inner = chunks[hit]
    if kind == b"IDAT" and generator.integers(2):
        inner = zlib.compress(mutate(zlib.decompress(inner), generator))
    else:
        inner = mutate(inner, generator)
    chunks[hit] = kind, inner
    return content[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def draw_case(seed: int, formats: dict[str, Format]) -> tuple[str, Path, bytes]:
    """Return a format, one of its files, and the damaged bytes for it."""
    generator = np.random.default_rng(seed)
    name = sorted(formats)[generator.integers(len(formats))]
    files = formats[name].files
    path = files[generator.integers(len(files))]
    return name, path, damage(path.name, path.read_bytes(), generator)


def run_case(seed: int, formats: dict[str, Format]) -> tuple[str, str]:
    """Damage a file and read it; return the format and "data", "InputError" or what else it was.

    The file is as it was before when this returns.
    """
    name, path, damaged = draw_case(seed, formats)
    content = path.read_bytes()
    path.write_bytes(damaged)
    try:
        return name, read(formats[name])
    finally:
        path.write_bytes(content)


def read(form: Format) -> str:
    """Return "data", "InputError" or what else came of reading."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        form.read(form.path)
    except InputError as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        lines = str(error).count("\n")
        return "InputError" if lines == 0 else f"InputError of {lines + 1} lines: {error}"
    except (Exception, Hang):
        signal.setitimer(signal.ITIMER_REAL, 0)
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "data"


def prepare() -> None:
    """Make this process one in which cases may run: an alarm that raises, warnings as errors."""
    signal.signal(signal.SIGALRM, _raise_hang)
    warnings.simplefilter("error")


def _raise_hang(*_: object) -> None:
    raise Hang


def work(seeds: range, folder: Path, current, results) -> None:
    """Run the cases of `seeds` and put what came of each; `current` is the one under way."""
    place = folder / f"{os.getpid()}"
    place.mkdir()
    formats = lay_out(place)
    for form in formats.values():
        form.read(form.path)  # imports what it needs, before memory is limited
    limit = data_bytes() + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prepare()
    for seed in seeds:
        current.value = seed
        results.put((seed, *run_case(seed, formats)))


class Worker:
    """A process that works through seeds; one that dies or stalls is followed by another."""

    def __init__(self, seeds: range, folder: Path, results) -> None:
        self.seeds, self.folder, self.results = seeds, folder, results
        self.current = multiprocessing.Value("q", seeds.start - 1)
        self._start(seeds)

    def _start(self, seeds: range) -> None:
        self.seen, self.since = self.current.value, time.monotonic()
        self.process = multiprocessing.Process(
            target=work, args=(seeds, self.folder, self.current, self.results)
        )
        self.process.start()

    def watch(self) -> tuple[int, str] | None:
        """Return the seed at which the process died or stalled, after going on behind it."""
        if self.current.value != self.seen:
            self.seen, self.since = self.current.value, time.monotonic()
        stalled = time.monotonic() - self.since > STALLED
        if self.process.is_alive() and stalled:
            self.process.kill()
            self.process.join()
        if self.process.is_alive() or self.process.exitcode == 0:
            return None
        seed = self.current.value
        what = "stalled" if stalled else f"died with {self.process.exitcode}"
        if seed < self.seeds.start:
            raise RuntimeError(f"a worker {what} before its first case")
        rest = range(seed + self.seeds.step, self.seeds.stop, self.seeds.step)
        self._start(rest)
        return seed, what


def fuzz(first: int, cases: int, kept: Path) -> int:
    """Run the cases and return how many failed; each is kept under `kept` with its seed."""
    results = multiprocessing.SimpleQueue()
    outcomes: Counter[str] = Counter()
    failures, done, start = 0, 0, time.monotonic()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        workers = [
            Worker(range(first + w, first + cases, WORKERS), Path(name), results)
            for w in range(WORKERS)
        ]
        while done < cases:
            broken = [found for worker in workers if (found := worker.watch())]
            found = [(seed, "?", what) for seed, what in broken]
            while not results.empty():
                found.append(results.get())
            for seed, form, outcome in found:
                done += 1
                expected = outcome in ("data", "InputError")
                outcomes[f"{form}: {outcome if expected else 'FAILURE'}"] += 1
                if not expected:
                    failures += 1
                    keep(seed, outcome, kept)
            time.sleep(0.05)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:8,} {outcome}")
    print(f"{done:,} cases, {failures} failures, {time.monotonic() - start:.0f} s")
    return failures


def keep(seed: int, outcome: str, kept: Path) -> None:
    """Keep the damaged files of a case and what came of it."""
    place = kept / str(seed)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    formats = lay_out(place)
    name, path, damaged = draw_case(seed, formats)
    path.write_bytes(damaged)
    for other in set(formats) - {name}:
        shutil.rmtree(place / other)
    (place / "outcome.txt").write_text(f"{path.relative_to(place)}\n{outcome}")
    print(f"seed {seed}, {name}: {outcome.strip().splitlines()[-1]}", file=sys.stderr)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--kept", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    return 1 if fuzz(options.first, options.cases, options.kept) else 0


if __name__ == "__main__":
    sys.exit(main())
