"""Features of networks as they lie on disk: the same arrays in every layout give the same data."""

import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from safetensors.numpy import save_file

import onelayer
from format_writers import NAMES, bfloat16_of, named, torch_file, torch_tensor, unicode_of
from onelayer.cli import run as run_cli
from onelayer.data.unlabelled import read_unlabelled
from onelayer.errors import InputError
from onelayer.evaluation.ranking import rank_files
from onelayer.experiments.evaluation_data import load_evaluation_data
from onelayer.experiments.feature_sets import load_feature_sets, name_sources, tell_sets

N, D, T = 60, 5, 3
LAYERS = ("layer2", "layer10")
Y = np.arange(N) % 3
ROWS = {"train": slice(36), "validation": slice(36, 48), "test": slice(48, N)}
SHORT = {"train": "train", "validation": "val", "test": "test"}
# Whole numbers up to 255 are exact in bfloat16, too; the first one of a row is its number.
STORED = {
    layer: np.random.default_rng(place).integers(0, 255, (N, D)).astype(np.float16)
    for place, layer in enumerate(LAYERS)
}
for values in STORED.values():
    values[:, 0] = np.arange(N)


def save_npy(folder, **arrays):
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return folder


def save_archives(folder, spelling):
    """Save every split of every layer in an archive of its own, with its labels."""
    for split, rows in ROWS.items():
        for layer in LAYERS:
            path = folder / (spelling.format(layer=layer, split=SHORT[split]) + ".npz")
            path.parent.mkdir(exist_ok=True)
            np.savez(path, features=STORED[layer][rows], labels=named(Y[rows]))
    return folder


def save_parts(folder, spelling, labels):
    """Save every split in files of its own, called as `spelling` and `labels` say."""
    for split, rows in ROWS.items():
        for layer in LAYERS:
            name = spelling.format(layer=layer, split=SHORT[split])
            save_npy(folder, **{name: STORED[layer][rows]})
        save_npy(folder, **{labels.format(split=SHORT[split]): np.array(named(Y[rows]))})
    return folder


def beside(folder, name, content):
    save_npy(folder, **STORED)
    (folder / name).write_text(content)
    return folder


def torch_dictionary(path, **arrays):
    stored = list(arrays.values())
    program = b"}("
    for key, (name, array) in enumerate(arrays.items()):
        program += unicode_of(name) + torch_tensor(key, array)
    return torch_file(path, program + b"u", stored)


def save_tables(folder):
    """Save lists of float16 beside labels, as Hugging Face's datasets do."""
    kind = pa.list_(pa.float16())
    columns = {layer: pa.array([*map(list, values)], kind) for layer, values in STORED.items()}
    table = pa.table(columns | {"label": named(Y)})
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as writer:
        writer.write_table(table)
    (folder / "state.json").write_text("{}")
    return folder


DRAWN = {
    "labels.npy": lambda at: save_npy(at, **STORED, labels=np.array(named(Y))),
    "y.npy": lambda at: save_npy(at, **STORED, y=np.array(named(Y))),
    "targets.npy and codes": lambda at: beside(save_npy(at, targets=Y), "classes.txt", LINES),
    "labels.txt": lambda at: beside(at, "labels.txt", "\n".join(named(Y))),
    "labels.csv": lambda at: beside(at, "labels.csv", "label\n" + "\n".join(named(Y))),
    "labels outside": lambda at: save_npy(
        at, labels=np.array(named(Y)), **{f"layers/{n}": X for n, X in STORED.items()}
    ),
    "a folder a layer, labels outside": lambda at: save_npy(
        at, labels=np.array(named(Y)), **{f"{n}/X": X for n, X in STORED.items()}
    ),
    "strangers beside them": lambda at: save_npy(
        at, **STORED, labels=np.array(named(Y)), ids=np.arange(N), mask=np.ones((N, 4), int)
    ),
    "tensors in files": lambda at: [
        beside(at, "labels.txt", "\n".join(named(Y))),
        [(at / f"{layer}.npy").unlink() for layer in LAYERS],
        [torch_file(at / f"{n}.pt", torch_tensor(0, X), [X]) for n, X in STORED.items()],
        at,
    ][-1],
    "one .npz": lambda at: np.savez(at / "a.npz", **STORED, labels=named(Y)) or at / "a.npz",
    ".npz a layer": lambda at: [
        np.savez(at / n, X=X, y=named(Y)) for n, X in STORED.items()
    ] and at,
    "a folder a layer": lambda at: [
        save_npy(at / n, embeddings=X, targets=np.array(named(Y))) for n, X in STORED.items()
    ] and at,
    "labels of each layer": lambda at: [
        save_npy(at, **{n: X, f"{n}_labels": np.array(named(Y))}) for n, X in STORED.items()
    ] and at,
    "safetensors": lambda at: save_file(
        {**STORED, "label": Y}, at / "a.safetensors", {"class_names": json.dumps(NAMES)}
    ) or at / "a.safetensors",
    "archives beside labels": lambda at: [
        np.savez(at / n, features=X) for n, X in STORED.items()
    ] and save_npy(at, labels=np.array(named(Y))),
    "one archive beside labels.csv": lambda at: np.savez(at / "a.npz", **STORED) or ([
        (at / "labels.csv").write_text("id,label\n" + "\n".join(f"i,{y}" for y in named(Y)))
    ] and at),
    "safetensors beside labels": lambda at: save_file(STORED, at / "a.safetensors") or save_npy(
        at, targets=np.array(named(Y))
    ) / "a.safetensors",
    "labels.json": lambda at: beside(at, "labels.json", json.dumps(named(Y))),
    "bfloat16": lambda at: save_bfloat16(at / "a.safetensors"),
    "one .pt": lambda at: torch_dictionary(at / "a.pt", **STORED, labels=Y),
    "a saved dataset": save_tables,
}  # fmt: skip
SPLIT = {
    "train/": lambda at: save_parts(at, "{split}/{layer}", "{split}/labels"),
    "labels of splits outside": lambda at: save_parts(at, "{split}/{layer}", "{split}_labels"),
    "train_layer": lambda at: save_parts(at, "{split}_{layer}", "{split}_labels"),
    "layer-train": lambda at: save_parts(at, "{layer}-{split}", "y_{split}"),
    "layer.train.feats": lambda at: save_parts(at, "{layer}_{split}_feats", "{split}_targets"),
    "layer_train.npz": lambda at: save_archives(at, "{layer}_{split}"),
    "train_layer.npz": lambda at: save_archives(at, "{split}_{layer}_feats"),
    "train/layer.npz": lambda at: save_archives(at, "{split}/{layer}"),
    "split.txt": lambda at: beside(
        save_npy(at, labels=np.array(named(Y))), "split.txt", "\n".join(OF_ROWS)
    ),
    "split.csv": lambda at: beside(
        save_npy(at, labels=np.array(named(Y))), "split.csv", "row,split\n" + "\n".join(
            f"{row},{split}" for row, split in enumerate(OF_ROWS)
        )
    ),
    "split.npy": lambda at: save_npy(
        at, **STORED, labels=np.array(named(Y)), split=np.repeat(range(3), [36, 12, 12])
    ),
    "train_idx.npy": lambda at: save_npy(
        at, **STORED, labels=np.array(named(Y)), train_idx=ORDER["train"],
        val_idx=ORDER["validation"], test_idx=ORDER["test"]
    ),
    "the rest trains": lambda at: [
        save_npy(at, **STORED, labels=np.array(named(Y)), valid_indices=ORDER["validation"]),
        (at / "test_indices.txt").write_text("\n".join(map(str, ORDER["test"]))),
    ] and at,
    "masks in .pt": lambda at: torch_dictionary(
        at / "a.pt", **STORED, labels=Y,
        **{f"{SHORT[split]}_mask": np.isin(np.arange(N), ORDER[split]) for split in ROWS}
    ),
    "metadata.csv": lambda at: beside(
        at, "metadata.csv", "file,class_name,split\n" + "\n".join(map(",".join, zip(
            map(str, range(N)), named(Y), OF_ROWS, strict=True
        )))
    ),
    "splits.json": lambda at: beside(
        save_npy(at, labels=np.array(named(Y))), "splits.json", json.dumps(
            {SHORT[split]: rows.tolist() for split, rows in ORDER.items()}
        )
    ),
    "archives of splits beside labels": lambda at: [
        np.savez(at / f"{split}_{layer}", X=STORED[layer][ORDER[split]])
        for split in ROWS for layer in LAYERS
    ] and save_npy(at, **{f"{split}_y": np.array(named(Y[ORDER[split]])) for split in ROWS}),
    "split in .npz": lambda at: np.savez(
        at / "a.npz", **STORED, labels=named(Y), split=OF_ROWS
    ) or at / "a.npz",
}  # fmt: skip
LINES = "\n".join(NAMES)
ORDER = {split: np.arange(N)[rows] for split, rows in ROWS.items()}
OF_ROWS = [
    SHORT[split] for split, rows in ROWS.items() for _ in range(rows.stop - (rows.start or 0))
]
REFERENCE = {
    layer: onelayer.dataset_from(values.astype(np.float32), named(Y))
    for layer, values in STORED.items()
}


def save_bfloat16(path):
    kinds = {"layer2": "BF16", "layer10": "BF16", "labels": "I64"}
    arrays = {name: bfloat16_of(values) for name, values in STORED.items()} | {"labels": Y}
    header, body = {"__metadata__": {"class_names": json.dumps(NAMES)}}, b""
    for name, array in arrays.items():
        ends = [len(body), len(body) + array.nbytes]
        shape = list(array.shape)
        header[name] = {"dtype": kinds[name], "shape": shape, "data_offsets": ends}
        body += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


@pytest.mark.parametrize("layout", [*DRAWN, *SPLIT])
def test_the_same_arrays_give_the_same_data_in_every_layout(layout, tmp_path):
    path = (DRAWN | SPLIT)[layout](tmp_path)
    found = load_feature_sets([str(path)])
    assert [name.removesuffix("_feats") for name in found] == [*LAYERS]
    for layer, data in zip(LAYERS, found.values(), strict=True):
        classes = ("0", "1", "2") if layout.endswith(".pt") else NAMES
        assert data.class_names == classes
        for split, rows in ROWS.items():
            expected = REFERENCE[layer].splits[split]
            X, y = expected.X, expected.y
            if layout in SPLIT:
                X, y = STORED[layer][rows], Y[rows]
            got = data.splits[split]
            assert got.X.dtype == np.float32
            np.testing.assert_array_equal(got.X, X)
            np.testing.assert_array_equal(got.y, y)


def test_one_set_is_asked_for_by_its_name_or_by_its_file(tmp_path):
    folder = DRAWN["labels.npy"](tmp_path)
    expected = REFERENCE["layer10"].test.X
    for path, options in (
        (folder / "layer10.npy", {}),
        (folder, {"feature_set": "layer10"}),
        (folder, {"feature_set": "layer-10"}),
    ):
        data = onelayer.load_dataset(path, **options)
        np.testing.assert_array_equal(data.test.X, expected)
        assert data.notes == (f"layer10: {N} × {D} float16, labels from labels.npy (3 classes)",)
        assert set(data.digests) == {"layer10.npy", "labels.npy"}
    with pytest.raises(InputError, match="2 sets of features: layer2, layer10; --feature-set"):
        onelayer.load_dataset(folder)
    with pytest.raises(InputError, match="no set of features 'layer3'; arrays: labels, layer10"):
        onelayer.load_dataset(folder, feature_set="layer3")


@pytest.mark.parametrize("layout", ["train/", "train_layer", "layer-train"])
def test_one_file_of_a_split_stands_for_its_set(layout, tmp_path, monkeypatch):
    monkeypatch.chdir(SPLIT[layout](tmp_path))
    every = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.npy"))
    for sources in (every, [name for name in every if "train" in name]):
        found = load_feature_sets(sources)
        assert [*found] == [*LAYERS]
        np.testing.assert_array_equal(found["layer10"].test.X, STORED["layer10"][ROWS["test"]])
    assert len(found["layer10"].digests) == 6


def save_lists(path, form):
    """Save tensors as they gather in a loop: of each sample, of each batch, of each layer."""
    X, stored = STORED["layer2"], []

    def tensor(array):
        stored.append(np.ascontiguousarray(array))
        return torch_tensor(len(stored) - 1, stored[-1])

    def listed(items):
        return b"](" + b"".join(items) + b"e"

    label = [b"K" + bytes([y]) for y in Y]
    of_batches = range(0, N, 16)
    if form == "list of dicts":
        program = listed(
            b"}(" + unicode_of("feature") + tensor(x) + unicode_of("label") + y + b"u"
            for x, y in zip(X, label, strict=True)
        )
    elif form == "rows":
        program = b"}(" + unicode_of("feats") + listed(map(tensor, X))
        program += unicode_of("labels") + listed(label) + b"u"
    elif form == "batches":
        program = b"}(" + unicode_of("feats") + listed(tensor(X[n : n + 16]) for n in of_batches)
        program += unicode_of("labels") + listed(tensor(Y[n : n + 16]) for n in of_batches) + b"u"
    elif form == "layers":
        program = b"}(" + unicode_of("hidden_states") + tensor(X) + tensor(STORED["layer10"])
        program += b"\x86" + unicode_of("labels") + tensor(Y) + b"u"
    else:
        program = b"}(" + unicode_of("features") + b"}(K\x02" + tensor(X)
        program += b"K\x0a" + tensor(STORED["layer10"]) + b"u"
        program += unicode_of("labels") + tensor(Y) + b"u"
    return torch_file(path, program, stored)


@pytest.mark.parametrize(
    "form", ["list of dicts", "rows", "batches", "layers", "numbers of layers"]
)
def test_lists_of_tensors_are_rows_batches_or_layers(form, tmp_path):
    found = load_feature_sets([str(save_lists(tmp_path / "a.pt", form))])
    names = {"layers": ("_0", "_1"), "numbers of layers": ("s_2", "s_10")}.get(form, ("a",))
    assert len(found) == len(names)
    for name, end, layer in zip(found, names, LAYERS, strict=False):
        assert name.endswith(end)
        for split in ROWS:
            expected = REFERENCE[layer].splits[split]
            np.testing.assert_array_equal(found[name].splits[split].X, expected.X)
            np.testing.assert_array_equal(found[name].splits[split].y, expected.y)


@pytest.mark.parametrize("suffix", ["npy", "pt"])
def test_a_file_for_each_sample_lies_in_the_folder_of_its_class(suffix, tmp_path):
    for split, rows in ORDER.items():
        for row in rows:
            place = tmp_path / SHORT[split] / NAMES[Y[row]]
            place.mkdir(parents=True, exist_ok=True)
            x = STORED["layer2"][row]
            if suffix == "npy":
                np.save(place / f"{row:03}.npy", x)
            else:
                torch_file(place / f"{row:03}.pt", torch_tensor(0, x), [x])
    data = onelayer.load_dataset(tmp_path)
    assert data.class_names == tuple(sorted(NAMES))
    for split, rows in ORDER.items():
        got = data.splits[split]
        assert [*map(int, got.X[:, 0])] == sorted(rows, key=lambda row: (NAMES[Y[row]], row))
        assert [data.class_names[y] for y in got.y] == named(np.sort(Y[rows]))
    np.save(tmp_path / "train" / NAMES[0] / "x.npy", np.zeros(4, np.float32))
    with pytest.raises(InputError, match=r"x\.npy: an array of the shape \(4,\), that of"):
        onelayer.load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda at: np.savez(at / "a.npz", **{f"i{n}.jpg": x for n, x in enumerate(TOKENS[0])},
                             z=TOKENS[0][0]),
         r"4 arrays of one sample each: i0\.jpg, .*; expected them as rows of one array, X = num"),
        (lambda at: (at / "x.h5").write_bytes(b"\x89HDF"), r"x\.h5: HDF5, .* h5py reads"),
        (lambda at: STORED["layer2"].tofile(at / "x.dat"), r"x\.dat: bare numbers"),
        (lambda at: (at / "0.tar").write_bytes(b"0"), r"0\.tar: an archive; unpack it first"),
        (lambda at: (at / "x.pkl").write_bytes(b"\x80\4."), r"x\.pkl: a pickle, which"),
        (lambda at: (at / "x.jsonl").write_text("{}"), r"x\.jsonl: JSON, which is not read"),
        (lambda at: (at / "X.npy.gz").write_bytes(b"0"), r"X\.npy\.gz: packed; unpack it first"),
        (lambda at: np.savez(at / "a.npz", X=np.zeros((2, N, D)), y=Y),
         r"labels of 60 in y; layers \(L, N, D\) are arrays of their own: layer0=X\[0\]"),
        (lambda at: beside(at, "labels.json", "[1, "), r"labels\.json: not JSON"),
        (lambda at: beside(at, "labels.json", '{"a": 1}'), "expected a list of texts or of whole"),
    ],
)  # fmt: skip
def test_layouts_that_are_not_read_are_told_what_would_be(make, message, tmp_path):
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        load_feature_sets([str(tmp_path)])


def test_an_object_array_is_told_to_be_a_pickle(tmp_path):
    np.save(tmp_path / "a.npy", {"X": 1}, allow_pickle=True)
    with pytest.raises(InputError, match="holds object, expected plain numbers; it is a pickle"):
        onelayer.load_dataset(tmp_path / "a.npy")


TOKENS = np.random.default_rng(3).normal(size=(N, T, D)).astype(np.float16)
POOLED = {
    "mean": TOKENS.astype(np.float64).mean(axis=1).astype(np.float32),
    "cls": TOKENS[:, 0], "last": TOKENS[:, -1], "index:1": TOKENS[:, 1],
    "none": TOKENS.reshape(N, -1),
}  # fmt: skip


def save_tokens(folder, form):
    """Save (N, T, D) in one of the formats; of bfloat16 as it is rounded there."""
    arrays = {"hidden_states": TOKENS, "labels": Y}
    if form == "folder":
        return save_npy(folder, **arrays)
    if form == "npz":
        np.savez(folder / "a.npz", **arrays)
    elif form == "safetensors":
        save_file(arrays, folder / "a.safetensors")
    elif form == "pt":
        torch_dictionary(folder / "a.pt", **arrays)
    else:
        lists = pa.array(TOKENS.tolist(), pa.list_(pa.list_(pa.float16())))
        pa.parquet.write_table(pa.table({"hidden_states": lists, "label": Y}), folder / "a.parquet")
    return folder / f"a.{form}"


@pytest.mark.parametrize("form", ["folder", "npz", "safetensors", "pt", "parquet"])
def test_tokens_are_refused_and_pooled_on_demand(form, tmp_path):
    path = save_tokens(tmp_path, form)
    with pytest.raises(InputError, match=r"\(60, 3, 5\): 3 vectors of 5 numbers .* --pool "):
        onelayer.load_dataset(path)
    with pytest.raises(InputError, match="expected an index from 0 to 2"):
        onelayer.load_dataset(path, pool="index:3")
    for pool, rows in POOLED.items():
        data = onelayer.load_dataset(path, pool=pool)
        expected = onelayer.dataset_from(rows.astype(np.float32), Y)
        for split in ROWS:
            np.testing.assert_array_equal(data.splits[split].X, expected.splits[split].X)
        blocks = read_unlabelled(str(path), rows.shape[1], None, 1.0, pool=pool)
        np.testing.assert_array_equal(np.concatenate([*blocks]), rows)


def test_a_model_remembers_how_its_tokens_were_pooled(tmp_path, capsys):
    path = save_tokens(tmp_path, "npz")
    data = onelayer.load_dataset(path, pool="index:1")
    model = onelayer.model_of(onelayer.train(data, onelayer.grid(), epochs=1))
    assert model.pool == "index:1"
    saved, rows = tmp_path / "m.safetensors", tmp_path / "rows.npz"
    model.save(saved)
    np.savez(rows, X=POOLED["index:1"], y=Y)
    np.savetxt(tmp_path / "rows.csv", POOLED["index:1"], fmt="%.9g", delimiter=",")
    (tmp_path / "b").mkdir()
    expected = model.predict(POOLED["index:1"])
    for source in (path, rows, tmp_path / "rows.csv", save_tokens(tmp_path / "b", "folder")):
        found = [int(row.classes[0]) for row in rank_files(model, [str(source)])]
        np.testing.assert_array_equal(found, expected)
        if source.suffix != ".csv":
            judged = load_evaluation_data(saved, model, str(source), "test")
            np.testing.assert_array_equal(judged.test.X, data.test.X)
    assert run_cli(["predict", str(saved), str(rows), "--pool", "cls"]) == 2
    assert "pool 'cls' takes (N, T, D)" in capsys.readouterr().err


def test_pictures_are_no_tokens_and_rows_have_nothing_to_pool(tmp_path):
    pictures = np.zeros((N, 4, 6))
    np.savez(tmp_path / "a.npz", images=pictures, y=Y)
    assert onelayer.load_dataset(tmp_path / "a.npz").image_shape == (1, 4, 6)
    np.savez(tmp_path / "a.npz", X=pictures[:, :, :4], y=Y)
    assert onelayer.load_dataset(tmp_path / "a.npz").image_shape == (1, 4, 4)
    np.savez(tmp_path / "a.npz", X=pictures[:, 0], y=Y)
    with pytest.raises(InputError, match=r"\(60, 6\): pool 'mean' takes \(N, T, D\)"):
        onelayer.load_dataset(tmp_path / "a.npz", pool="mean")
    with pytest.raises(InputError, match="pool is 'max'; expected mean, cls"):
        onelayer.load_dataset(tmp_path / "a.npz", pool="max")
    np.savez(tmp_path / "a.npz", X=np.zeros((N, 8, 2, 2)), y=Y)
    with pytest.raises(InputError, match=r"of maps \(N, C, H, W\), X.mean"):
        onelayer.load_dataset(tmp_path / "a.npz")


def test_what_is_of_16_bits_stays_in_its_file_and_trains_as_float32_does(tmp_path):
    data = load_feature_sets([str(save_bfloat16(tmp_path / "a.safetensors"))])["layer10"]
    assert data.train.X.kind == "bfloat16"
    (file,) = data.train.files
    assert file.path == tmp_path / "a.safetensors"
    expected = REFERENCE["layer10"]
    runs = [
        onelayer.train(some, onelayer.grid(), epochs=2, batch_size=7, scaling="standardise")
        for some in (data, expected)
    ]
    np.testing.assert_array_equal(runs[0].weights, runs[1].weights)
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(InputError, match="changed while it was in use"):
        onelayer.train(data, onelayer.grid(), epochs=1)


def test_a_note_that_several_sets_share_is_told_once(tmp_path):
    X = STORED["layer2"]
    halves = {f"layer{n}": X.astype(np.float16) for n in (1, 2, 10)}
    save_npy(tmp_path, **halves, layer11=X[:, :2].astype(np.float16), labels=Y)
    first, last = tell_sets(load_feature_sets([str(tmp_path)]))
    assert first.startswith(
        f"layer1 to layer10 (3 feature sets): {len(X):,} × {X.shape[1]} float16"
    )
    assert last.startswith(f"layer11: {len(X):,} × 2 float16")


def test_a_value_that_is_not_finite_is_told_by_its_place_in_the_file(tmp_path):
    bad = STORED["layer2"].copy()
    bad[17, 3] = np.nan
    path = save_npy(tmp_path, features=bad, y=Y)
    with pytest.raises(InputError, match="row 17, column 3, holds a value that is not finite"):
        onelayer.load_dataset(path)
    save_npy(tmp_path, split=np.arange(N) % 2)
    with pytest.raises(InputError, match=r"features\.npy: row 17, column 3, holds"):
        onelayer.load_dataset(path)


# --- groups and splits --------------------------------------------------------------------------

VIEWS = np.arange(N) // 4  # four views of each of 15 things


def groups_apart(data, folder_rows=VIEWS):
    """Return the groups of each split, told by the first number of a row."""
    found = [{*folder_rows[split.X[:][:, 0].astype(int)]} for split in data.splits.values()]
    assert not any(one & other for one, other in itertools.combinations(found, 2))
    return found


@pytest.mark.parametrize("form", ["beside", "file", "array", "key", "csv", "parquet"])
def test_rows_of_one_group_are_never_in_two_splits(form, tmp_path):
    X, y, groups = STORED["layer2"].astype(np.float32), VIEWS % 3, {}
    views = np.array([f"v{view}" for view in VIEWS])
    if form == "array":
        np.savez(tmp_path / "a.npz", X=X, y=y, groups=views)
    elif form == "key":
        np.savez(tmp_path / "a.npz", X=X, y=y, thing=views)
        groups = {"groups": "thing"}
    elif form in ("csv", "parquet"):
        table = pa.table({f"x{d}": X[:, d] for d in range(D)} | {"view": views, "label": y})
        groups = {"groups": "view"}
        if form == "csv":
            pa.csv.write_csv(table, tmp_path / "a.csv")
        else:
            pa.parquet.write_table(table, tmp_path / "a.parquet")
    else:
        np.savez(tmp_path / "a.npz", X=X, y=y)
        name = "who.txt" if form == "beside" else str(tmp_path / "x" / "who.csv")
        groups = {"groups": name}
        (tmp_path / "x").mkdir()
        (tmp_path / name).write_text("\n".join(views))
    (path,) = (path for path in tmp_path.glob("a.*"))
    data = onelayer.load_dataset(path, **groups)
    assert data.n_features == D
    assert any("groups of rows from" in note for note in data.notes)
    assert [len(some) for some in groups_apart(data)] == [11, 2, 2]
    assert sum(map(len, data.splits.values())) == N
    specs = load_feature_sets([str(path)], validation=0.25, **groups)
    groups_apart(*specs.values())


def test_a_column_that_says_the_split_of_a_row_is_no_feature(tmp_path):
    table = pa.table({"a": STORED["layer2"][:, 0], "b": Y % 2, "part": OF_ROWS, "label": named(Y)})
    pa.csv.write_csv(table, tmp_path / "a.csv")
    data = onelayer.load_dataset(tmp_path / "a.csv", split_file="part")
    assert {split: len(some) for split, some in data.splits.items()} == {
        split: len(Y[rows]) for split, rows in ROWS.items()
    }
    assert data.columns.features == ("a", "b")
    with pytest.raises(InputError, match="no column 'parts', only a, b, part, label"):
        onelayer.load_dataset(tmp_path / "a.csv", split_file="parts")


def test_splits_and_groups_that_contradict_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", X=STORED["layer2"], y=Y)
    for name, values, message in (
        ("split_file", ["train"] * 59, r"s\.txt: splits of the shape \(59,\), expected .* 60 rows"),
        ("split_file", ["train"] * 59 + ["x"], "row 59 has the split 'x'; expected train, valid"),
        ("split_file", ["test"] * 60, "no row trains"),
        ("groups", range(59), r"s\.txt: groups of the shape \(59,\)"),
        ("groups", [1] * 60, "all rows are of one group"),
        ("groups", [1, 2] * 30, "2 samples are too few to split"),
    ):
        (tmp_path / "s.txt").write_text("\n".join(map(str, values)))
        with pytest.raises(InputError, match=message):
            onelayer.load_dataset(tmp_path / "a.npz", **{name: "s.txt"})
    with pytest.raises(InputError, match=r"no file t\.txt and no such array: X, y"):
        onelayer.load_dataset(tmp_path / "a.npz", groups="t.txt")
    (tmp_path / "g.txt").write_text("\n".join(map(str, VIEWS)))
    (tmp_path / "s.txt").write_text("\n".join(["train", "test", "val"] * 20))
    with pytest.raises(InputError, match=r"15 groups have rows in train and in validation"):
        onelayer.load_dataset(tmp_path / "a.npz", groups="g.txt", split_file="s.txt")
    np.savez(tmp_path / "a.npz", X_train=STORED["layer2"], y_train=Y, X_test=X6, y_test=Y[:6])
    with pytest.raises(InputError, match=r"has splits of its own, train, test, so g\.txt cannot"):
        onelayer.load_dataset(tmp_path / "a.npz", groups="g.txt")


X6 = STORED["layer2"][:6]


def test_labels_of_another_length_or_in_two_files_are_refused(tmp_path, capsys):
    folder = save_npy(tmp_path / "feats", **STORED, labels=Y[1:])
    message = r"feats: layer2\.npy: features of the shape \(60, 5\), labels of 59 in labels\.npy"
    with pytest.raises(InputError, match=message):
        onelayer.load_dataset(folder / "layer2.npy")
    (folder / "y.txt").write_text("\n".join(map(str, Y)))
    with pytest.raises(InputError, match="both 'labels' and 'y' mean the same, labels; expected"):
        onelayer.load_dataset(folder / "layer2.npy")
    assert run_cli(["probe", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert "mean the same" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_features_without_labels_are_told_so(tmp_path):
    folder = save_npy(tmp_path, **STORED)
    with pytest.raises(
        InputError, match=r"without labels: layer10\.npy, layer2\.npy; expected lab"
    ):
        onelayer.load_dataset(folder)
    with pytest.raises(InputError, match=r"read as \.npy, without labels"):
        onelayer.load_dataset(folder / "layer2.npy")


@pytest.mark.parametrize("layout", [".npz a layer", "layer_train.npz", "train/layer.npz"])
def test_files_of_a_layer_are_no_shards_and_asked_for_by_name(layout, tmp_path):
    path = (DRAWN | SPLIT)[layout](tmp_path)
    with pytest.raises(InputError, match=r"2 sets of features: layer2, layer10; --feature-set"):
        onelayer.load_dataset(path)
    with pytest.raises(InputError, match=r"2 sets of features: layer2, layer10; --feature-set"):
        onelayer.load_dataset(path, feature_set="layer3")
    data = onelayer.load_dataset(path, feature_set="layer10")
    np.testing.assert_array_equal(
        sorted(np.concatenate([s.X for s in data.splits.values()]).T[0]), np.arange(N)
    )


@pytest.mark.parametrize("layout", ["layer_train.npz", "train/layer.npz"])
def test_files_that_a_shell_lists_are_the_sets_of_their_folder(layout, tmp_path, monkeypatch):
    monkeypatch.chdir(SPLIT[layout](tmp_path))
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.npz"))
    found = load_feature_sets(files)
    assert [*found] == [*LAYERS]
    for layer, data in found.items():
        np.testing.assert_array_equal(data.test.X, STORED[layer][ROWS["test"]])
    (alone,) = load_feature_sets([name for name in files if "layer2" in name]).values()
    np.testing.assert_array_equal(alone.test.X, STORED["layer2"][ROWS["test"]])


@pytest.mark.parametrize("numbers", [(16, 32), (18, 50)])
def test_numbers_that_do_not_count_shards_name_sets(numbers, tmp_path):
    for number in numbers:
        np.savez(tmp_path / f"vit_b_{number}.npz", X=STORED["layer2"], y=Y)
    assert [name[-2:] for name in load_feature_sets([str(tmp_path)])] == [str(n) for n in numbers]
    (tmp_path / "b").mkdir()
    for number in (0, 1):
        np.savez(tmp_path / "b" / f"vit_{number}.npz", X=STORED["layer2"], y=Y)
    (joined,) = load_feature_sets([str(tmp_path / "b")]).values()
    assert sum(map(len, joined.splits.values())) == 2 * N


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_idx": [0, 1, 60]}, r"train_idx: train: row 60; expected 0 to 59, .* from 0"),
        ({"train_idx": [0, 1], "test_idx": [1, 2]}, "row 1 is in train and in test; expected it"),
        ({"test_idx": [3, 3]}, "row 3 is in test and in test; expected it once"),
        ({"train_mask": np.ones(59, bool)}, "bool of the shape .* true and false for each of"),
        ({"val_idx": [0.5]}, "float64 of the shape .* expected numbers of rows"),
        ({"test_idx": range(60)}, "no row trains; expected some that are not listed"),
        ({"test_idx": [1], "test_rows": [1]}, "both 'test_idx' and 'test_rows' mean the same"),
    ],
)
def test_lists_of_rows_that_cannot_be_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "a.npz", X=STORED["layer2"], y=Y, **arrays)
    with pytest.raises(InputError, match=message):
        onelayer.load_dataset(tmp_path / "a.npz")


def test_what_lists_of_rows_say_is_told_and_split_file_goes_first(tmp_path):
    rows = {"train_idx": ORDER["train"][::-1], "test_idx": ORDER["test"]}
    np.savez(tmp_path / "a.npz", X=STORED["layer2"], y=Y, **rows)
    data = onelayer.load_dataset(tmp_path / "a.npz")
    assert "split by train_idx, test_idx" in data.notes[0]
    assert data.notes[1].endswith("12 rows are in no split and not used")
    assert len(data.train) + len(data.validation) == 36  # rows of no list stay out
    (tmp_path / "s.txt").write_text("\n".join(OF_ROWS))
    again = onelayer.load_dataset(tmp_path / "a.npz", split_file="s.txt")
    np.testing.assert_array_equal(again.train.X, STORED["layer2"][ROWS["train"]])


def test_names_are_natural_in_order_and_long_ones_lose_their_middle(tmp_path):
    long = "a-network-with-a-very-long-name-of-many-parts-layer"
    paths = [tmp_path / f"{long}{place}.npy" for place in (10, 2)]
    save_npy(tmp_path, **{path.stem: STORED["layer2"] for path in paths}, y=Y)
    names = name_sources([*map(str, paths)])
    assert len({*names}) == 2
    assert all(len(name) <= 40 and "…" in name and name.startswith("a-net") for name in names)
    assert names[0].endswith("layer10")
    blocks = [f"vit_large_patch14_block_{n:02d}_post_layernorm_cls_token" for n in range(12)]
    cut = name_sources([f"a/{name}.npy" for name in blocks])
    assert {len(name) for name in cut} == {40}
    assert all(f"{n:02d}" in name for n, name in enumerate(cut))
    twins = [f"a/{'x' * 60}{side}{'y' * 60}.npy" for side in "pq"]
    assert len({*name_sources(twins)}) == 2
    for sources in ([tmp_path], sorted(paths), sorted(paths)[::-1]):
        found = load_feature_sets([*map(str, sources)])
        assert [name[-2:] for name in found] == ["r2", "10"]


def test_every_door_takes_one_layer(tmp_path, capsys):
    folder = save_tokens(tmp_path / "feats", "folder")
    common = ["--epochs", "1", "--batch-size", "10", "--report", "none"]
    for command in (
        ["data", "info", str(folder)],
        ["train", str(folder), *common, "--out", str(tmp_path / "run")],
        ["probe", str(folder / "hidden_states.npy"), *common[-2:], "--out", str(tmp_path / "p")],
        ["evaluate", str(tmp_path / "run"), str(folder)],
        ["predict", str(tmp_path / "run"), str(folder / "hidden_states.npy")],
    ):
        assert run_cli([*command, "--pool", "cls"]) == 0
        assert "np.float" not in capsys.readouterr().out
