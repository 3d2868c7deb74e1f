"""Several ranks train one job: as threads, to try many cases, and as processes, to kill some.

Run by make test-torch.
"""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import onelayer
from bits import bits
from made import make_data
from onelayer.cli import run as onelayer_command
from onelayer.data.dataset import Dataset, Split
from onelayer.data.splitting import fold_weights
from onelayer.errors import DivergedError, InputError
from onelayer.evaluation.metrics import METRICS
from onelayer.evaluation.run_folder import RunFolder
from onelayer.evaluation.unfinished import job_of_set
from onelayer.experiments import probe_training
from onelayer.training.cross_validation import cross_validate
from onelayer.training.hyperparameters import grid
from onelayer.training.ranks import Place
from onelayer.training.run import CURVES
from onelayer.training.world import World, alone, inside

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
pytestmark = pytest.mark.torch

LAUNCHED = {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "::1"}
LAUNCHED |= {"MASTER_PORT": "29500"}
OPTIONS = {
    "plain": {},
    "weighed": {"class_weight": "balanced"},
    "best": {"keep": "best", "patience": 2},
    "augmented": {"augmentation": "flip,shift:1"},
    "file": {"order": "file", "scaling": "standardise", "class_weight": "balanced"},
    "windowed": {"order": "windowed", "evaluate_every": 2, "snapshots": 2},
}
SETTINGS = {
    "momentum": grid(l2=[0, 0.01], learning_rate=[0.1, 0.02], momentum=[0.9]),
    "without": grid(l2=[0.01, 0.1], learning_rate=[0.1, 0.02]),
    "losses": [
        *grid(loss=["hinge", "cross-entropy"], momentum=[0.5], nesterov=[True]),
        *grid(loss=["binary-cross-entropy"], l2=[0, 0.1]),
    ],
    "plateau": grid(learning_rate=[0.1, 1e30], schedule=["plateau:1:0.5"], momentum=[0, 0.9]),
}


class Meeting:
    """Where the threads of one world hand each other values."""

    def __init__(self, size):
        self.barrier, self.values = threading.Barrier(size), [None] * size


class Threads(World):
    """A world whose ranks are threads."""

    def __init__(self, rank, meeting):
        self.rank, self.size, self._meeting = rank, len(meeting.values), meeting

    def gather(self, value):
        self._meeting.values[self.rank] = value
        self._meeting.barrier.wait(30)
        found = list(self._meeting.values)
        self._meeting.barrier.wait(30)
        return found

    def sum(self, tensor):
        tensor.copy_(sum(self.gather(tensor.clone())))


def together(size, work):
    """Return what `work` returns on each of as many ranks."""
    meeting = Meeting(size)

    def one(rank):
        with inside(Threads(rank, meeting)):
            return work()

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def images(N=331, K=4):
    """Return little pictures with a bright quarter for each class, of uneven splits."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, K, 3 * N)
    X = generator.integers(0, 120, (3 * N, K, 4)).astype(np.uint8)
    X[np.arange(3 * N), y] += 60
    X = X.reshape(3 * N, 4 * K)
    ends = [0, N, 2 * N - 250, 3 * N]
    splits = [Split(X[a:b], y[a:b]) for a, b in itertools.pairwise(ends)]
    return Dataset("images", *splits, ("a", "b", "c", "d"), 255.0, (1, 4, K))


def assert_equal_bits(expected, got):
    assert expected.weights.tobytes() == got.weights.tobytes()
    assert expected.biases.tobytes() == got.biases.tobytes()
    for name in CURVES:
        one, other = getattr(expected.history, name), getattr(got.history, name)
        assert one.tobytes() == other.tobytes(), name
    ends = [(run.stopped, run.ended, run.kept.tolist()) for run in (expected, got)]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("engine", ["auto", "numpy", "torch"])
def test_ranks_that_share_stacks_find_the_bits_of_one_process(engine, size):
    data, settings = images(), SETTINGS["losses"] + SETTINGS["without"]
    options = {"epochs": 2, "batch_size": 20, "engine": engine, "class_weight": "balanced"}
    expected = onelayer.train(data, settings, stacks=size, **options)
    for run in together(size, lambda: onelayer.train(data, settings, **options)):
        assert_equal_bits(expected, run)
        assert run.provenance["stacks"] == expected.provenance["stacks"]


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_stacks_of_the_kernel_may_be_cut_in_any_way(momentum):
    data, settings = images(), grid(l2=[0, 0.1, 1], learning_rate=[0.1, 0.01], momentum=[momentum])
    expected = onelayer.train(data, settings, epochs=2)
    if expected.provenance["engine"] != "CompiledEngine":
        pytest.skip("no compiled engine on this machine")
    for stacks in range(2, 7):
        assert_equal_bits(expected, onelayer.train(data, settings, epochs=2, stacks=stacks))


def test_ranks_that_share_stacks_solve_and_cross_validate():
    data, settings = images(), grid(l2=[0.01, 0.1])
    folds = fold_weights(data.train.y, 3, seed=0)

    def work():
        exact = onelayer.train(data, settings, solver="exact", scaling="standardise", stacks=2)
        return exact, cross_validate(data, settings, folds, epochs=2, stacks=6)

    exact, judged = work()
    for run, found in together(2, work):
        np.testing.assert_allclose(run.weights, exact.weights, atol=1e-7)
        np.testing.assert_array_equal(found.accuracy_curves, judged.accuracy_curves)
        np.testing.assert_array_equal(found.loss, judged.loss)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_ranks_that_share_rows_find_what_one_process_does(settings, options):
    """In float64, to 10⁻¹⁰ of weights of the size 1: sums of other orders round in other ways."""
    data = images()
    options = {"epochs": 3, "batch_size": 50, "dtype": "float64", "scaling": "unit"} | options
    expected = onelayer.train(data, settings, engine="torch", **options)
    runs = together(3, lambda: onelayer.train(data, settings, shard="rows", **options))
    for run in runs:
        assert run.weights.tobytes() == runs[0].weights.tobytes()
    assert (runs[0].stopped, runs[0].ended) == (expected.stopped, expected.ended)
    np.testing.assert_allclose(runs[0].weights, expected.weights, rtol=1e-10, atol=1e-10)
    for name in CURVES:
        one, other = getattr(expected.history, name), getattr(runs[0].history, name)
        np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-12, err_msg=name)


def test_ranks_that_share_rows_find_what_float32_can_say():
    data, settings = images(), SETTINGS["momentum"]
    expected = onelayer.train(data, settings, engine="torch", epochs=5)
    run, _ = together(2, lambda: onelayer.train(data, settings, shard="rows", epochs=5))
    np.testing.assert_allclose(run.history.train_loss, expected.history.train_loss, rtol=1e-5)


def test_ranks_that_share_rows_cross_validate():
    data, settings = images(), grid(l2=[0.01, 0.1], momentum=[0, 0.9])
    folds = fold_weights(data.train.y, 3, seed=0)
    options = {"epochs": 2, "dtype": "float64", "scaling": "standardise", "order": "file"}
    expected = cross_validate(data, settings, folds, engine="torch", **options)
    for found in together(
        3, lambda: cross_validate(data, settings, folds, shard="rows", **options)
    ):
        np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-10)
        np.testing.assert_allclose(found.loss_curves, expected.loss_curves, rtol=1e-10)
        np.testing.assert_array_equal(found.accuracy, expected.accuracy)


def test_a_rank_that_is_alone_keeps_its_gpu():
    one = World()
    one.local_rank = 3
    with inside(one), alone() as own:
        assert (own.rank, own.size, own.local_rank) == (0, 1, 3)


def test_a_rank_reads_its_rows_alone():
    """In an epoch: before the first one all are compared."""
    data, read = images(), {}

    class Watched(np.ndarray):
        def __getitem__(self, rows):
            read.setdefault(threading.get_ident(), set()).update(np.arange(len(self))[rows])
            return np.asarray(self)[rows]

    def forget(epoch, *_):
        if epoch == 0:
            read[threading.get_ident()] = set()

    watched = Split(data.train.X.view(Watched), data.train.y)
    watched = Dataset("watched", watched, None, None, tuple("abcd"), 255.0)
    options = {"shard": "rows", "epochs": 1, "on_epoch": forget}
    together(3, lambda: onelayer.train(watched, grid(), **options))
    assert sorted(row for own in read.values() for row in own) == list(range(len(data.train)))


def layers(number=4, *, labels=False):
    """Return feature sets of the same rows, in which more and more is seen of the class."""
    generator, y, found = np.random.default_rng(0), np.arange(270) % 3, {}
    if labels:
        y = np.stack([y > 0, y < 2, np.arange(270) % 5 == 0], axis=1).astype(np.uint8)
    for seen in range(number):
        X = generator.normal(size=(270, 5)).astype(np.float32)
        X[np.arange(270), np.arange(270) % 3] += 0.4 * (1 + seen)
        splits = [Split(X[part], y[part]) for part in np.split(np.arange(270), 3)]
        found[f"layer{seen}"] = Dataset("made", *splits, ("a", "b", "c"))
    return found


PROBES = {
    "path": (3, False, {"fractions": [0.5], "draws": 2, "control": True}),
    "exact": (2, False, {"settings": grid(l2=[0.01, 0.1]), "refit": True}),
    "descent": (2, False, {"settings": grid(l2=[0, 0.1]), "solver": "descent", "epochs": 3}),
    "labels": (3, True, {"settings": grid(l2=[0.01, 0.1]), "control": True}),
}


@pytest.mark.parametrize(("size", "labels", "options"), PROBES.values(), ids=PROBES)
def test_ranks_probe_what_one_process_does(tmp_path, monkeypatch, size, labels, options):
    few = {"accuracy": METRICS["accuracy"]}  # no bootstrap
    monkeypatch.setattr(probe_training, "METRICS", few)
    sets, options = layers(labels=labels), options | {"report": "none"}
    expected, out = onelayer.probe(sets, **options), tmp_path / "out"
    for found in together(size, lambda: onelayer.probe(sets, **options, out=out)):
        assert bits(found) == bits(expected)
    assert bits(RunFolder.open(out).probes()) == bits(expected)
    assert len([*(out / "models").iterdir()]) == len(sets) * (3 if labels else 1)
    assert os.listdir(tmp_path) == ["out"]


def test_a_set_of_which_all_diverge_ends_all_ranks_and_those_before_stay(tmp_path):
    sets, out = layers(3), tmp_path / "out"
    sets["layer1"] = replace(sets["layer1"], full_scale=1e-30)
    options = {"solver": "descent", "scaling": "unit", "epochs": 3}

    def work():
        with pytest.raises(DivergedError, match="layer1: ") as found:
            onelayer.probe(sets, grid(), **options, out=out, resume=True)
        return str(found.value)

    assert len({*together(2, work), *together(3, work), work()}) == 1
    assert [path.name for path in out.with_name("out.unfinished").glob("*.safetensors")] == [
        "1-layer0.safetensors"
    ]


def test_the_epochs_of_all_stacks_are_told():
    def work():
        told = []

        def on_epoch(epoch, curves, models):
            told.append((models.start, epoch, curves["train_loss"][0, epoch]))

        onelayer.train(make_data(), grid(l2=[0, 1, 2]), epochs=2, stacks=3, on_epoch=on_epoch)
        return sorted(told)

    expected = work()
    assert len(expected) == 9
    assert together(2, work) == [expected, expected]


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_variable_that_is_missing_or_wrong_is_named(name, monkeypatch, capsys):
    for variable, value in LAUNCHED.items():
        monkeypatch.setenv(variable, value)
    assert Place.found(os.environ) == Place(1, 3, 1, "::1", 29500)
    monkeypatch.delenv(name)
    assert onelayer_command(["train", "digits", "--out", "never"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"onelayer: {name} is not set")
    if name != "MASTER_ADDR":
        monkeypatch.setenv(name, "-1")
        with pytest.raises(InputError, match=f"{name} is '-1'; expected a whole number"):
            Place.found(os.environ)


def test_a_process_that_nobody_launched_is_alone():
    assert Place.found({}) is Place.found({"WORLD_SIZE": "1", "MASTER_PORT": "1"}) is None
    assert Place.found(LAUNCHED | {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) is None


SRUN = """#!/bin/sh
[ "$1" = --cpus-per-task=8 ] && shift || exit 1
for task in 0 1 2 3; do
  env SLURM_NTASKS=4 SLURM_PROCID=$task SLURM_LOCALID=$((task % 2)) "$@" || exit 1
done
"""
TOOLS = {
    "srun": SRUN,
    "scontrol": '#!/bin/sh\n[ "$*" = "show hostnames node[7-8]" ] && printf "node7\\nnode8\\n"\n',
    "onelayer": f"#!{sys.executable}\nimport json, os\nprint(json.dumps(dict(os.environ)))\n",
}


def test_the_script_for_slurm_gives_each_task_its_place(tmp_path):
    """Two tasks on each of two machines; srun, scontrol and onelayer are stand-ins."""
    docs = Path(__file__).parents[1] / "docs/scale.md"
    (script,) = re.findall(r"(#!/bin/bash\n#SBATCH .*?)```", docs.read_text("utf-8"), re.DOTALL)
    for name, text in TOOLS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    own = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_ID": "123456", "SLURM_CPUS_PER_TASK": "8"}
    own["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-ec", script], env=own, capture_output=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {variables["OMP_NUM_THREADS"] for variables in found} == {"8"}
    port = 20000 + 123456 % 20000
    places = [Place(rank, 4, rank % 2, "node7", port) for rank in range(4)]
    assert [Place.found(variables) for variables in found] == places


REFUSED = {
    "exact": ({"solver": "exact"}, "solver exact"),
    "time": ({"time_limit": 9}, "time_limit"),
    "engine": ({"engine": "numpy"}, "shard rows need engine torch"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED)
def test_what_rows_cannot_do_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        onelayer.train(make_data(), grid(), shard="rows", **options)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def launch(
    size, *arguments, of_rank=lambda rank: (), port=None, address="127.0.0.1", network="lo", on=()
):
    """Start the command line on as many ranks, each `on` a machine; return its processes."""
    own = {"WORLD_SIZE": size, "MASTER_ADDR": address, "MASTER_PORT": port or free_port()}
    environment = os.environ | {name: str(value) for name, value in own.items()}
    environment |= {"GLOO_SOCKET_IFNAME": network, "OMP_NUM_THREADS": "1"}
    places = [["ip", "netns", "exec", machine] for machine in on] or [[]] * size
    return [
        subprocess.Popen(
            [*places[rank], sys.executable, "-m", "onelayer", *map(str, arguments), *of_rank(rank)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": "0" if on else str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def results(processes):
    """Return status, standard output and standard error of each."""
    told = [process.communicate(timeout=60) for process in processes]
    return [(p.returncode, *words) for p, words in zip(processes, told, strict=True)]


def wait_for_life(size, port):
    """Wait until as many ranks have joined, each of which gives signs of life."""
    store = torch.distributed.TCPStore("127.0.0.1", port, is_master=False)
    for rank in range(size):
        while int(store.get(f"onelayer/0/{rank}")) < 1:
            time.sleep(0.1)


GRID = ["train", "digits", "--l2", "0,0.1,1", "--momentum", "0.9", "--report", "none"]


def test_torchrun_trains_what_one_process_does(tmp_path):
    short = [*GRID, "--epochs", "2", "--folds", "2", "--repeats", "1"]
    assert onelayer_command([*short, "--out", str(tmp_path / "one")]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node=3", "-m", "onelayer", *short, "--out", tmp_path / "three"],
        env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout.count("results: ") == 1
    one, three = (onelayer.load_run(tmp_path / name) for name in ("one", "three"))
    assert three.provenance["stacks"] == [1, 1, 1]
    if one.provenance["engine"] == "CompiledEngine":
        assert_equal_bits(one, three)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "three"]


def test_ranks_that_disagree_say_in_what(tmp_path):
    (first, _, line), (second, _, nothing) = results(
        launch(
            2, *GRID, "--epochs", "1", "--out", tmp_path / "out",
            of_rank=lambda rank: ["--seed", str(rank), "--validation", "0.2" if rank else "0.1"],
        )
    )  # fmt: skip
    assert (first, second, nothing, len(line.splitlines())) == (2, 2, "", 1)
    assert "rank 1: seed is 1, not 0" in line
    assert "data, train" in line
    assert not list(tmp_path.iterdir())


def test_a_rank_that_fails_says_why_through_rank_0(tmp_path):
    (first, _, line), (second, _, nothing) = results(
        launch(
            2, *GRID, "--epochs", "100000", "--out", tmp_path / "out",
            of_rank=lambda rank: ["--source", str(tmp_path / "missing")] * rank,
        )
    )  # fmt: skip
    assert (first, second, nothing, len(line.splitlines())) == (2, 2, "", 1)
    assert line.startswith("onelayer: rank 1 of 2: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("shard", "size"), [("models", 3), ("rows", 1)])
def test_another_number_of_ranks_goes_on_after_a_kill(tmp_path, shard, size):
    out, kept = tmp_path / "out", tmp_path / "out.unfinished" / "checkpoints"
    long = [*GRID, "--epochs", "150", "--stacks", "2", "--shard", shard]
    killed = launch(2, *long, "--checkpoint", "20", "--out", out)
    stacks = [0] if shard == "rows" else [0, 1]
    while not all([*kept.glob(f"training.{stack}.*.safetensors")] for stack in stacks):
        time.sleep(0.02)
        assert all(process.poll() is None for process in killed)
    for process in killed:
        process.kill()
        process.communicate()
    first, *others = results(launch(size, "resume", out))
    assert first[0] == 0
    assert ": epoch " in first[2]
    assert others == [(0, "", "")] * (size - 1)
    assert onelayer_command([*long, "--out", str(tmp_path / "one")]) == 0
    one, resumed = (onelayer.load_run(tmp_path / name) for name in ("one", "out"))
    if shard == "models":
        assert_equal_bits(one, resumed)
    np.testing.assert_allclose(resumed.weights, one.weights, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "out"]


PROBE = ["probe", *(f"layer{n}.npz" for n in range(4)), "--solver", "descent", "--l2", "0,0.1"]
PROBE += ["--learning-rate", "0.1", "--report", "none"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a folder with files of feature sets, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, data in layers().items():
        splits = {"": data.train, "_validation": data.validation, "_test": data.test}
        arrays = {f"X{end}": split.X for end, split in splits.items()}
        np.savez(f"{name}.npz", **arrays, **{f"y{end}": s.y for end, s in splits.items()})
    return tmp_path


@pytest.mark.parametrize("size", [1, 3])
def test_another_number_of_ranks_goes_on_with_probes(files, size):
    """Killed when each rank has probed a feature set, and is in the middle of another one."""
    long, kept = [*PROBE, "--epochs", "4000"], files / "out.unfinished"
    killed = launch(2, *long, "--checkpoint", "50", "--out", "out")
    begun = {job_of_set(name) for name in ("layer2", "layer3")}
    while begun - {path.name[:18] for path in kept.glob("checkpoints/*")}:
        time.sleep(0.02)
        assert all(process.poll() is None for process in killed)
    for process in killed:
        process.kill()
        process.communicate()
    assert sorted(path.name[2:8] for path in kept.glob("*.safetensors")) == ["layer0", "layer1"]
    first, *others = results(launch(size, "resume", "out"))
    assert first[0] == 0
    assert first[2].count(": epoch ") == 2
    assert others == [(0, "", "")] * (size - 1)
    assert onelayer_command([*long, "--out", "one"]) == 0
    one, resumed = (RunFolder.open(files / name) for name in ("one", "out"))
    assert bits(resumed.probes()) == bits(one.probes())
    assert bits(resumed.probe_models()) == bits(one.probe_models())
    assert resumed.task().call["machine"]["stacks"] == 1
    assert sorted(path.name for path in files.iterdir() if path.is_dir()) == ["one", "out"]


LOST = {
    "killed": (2, [*GRID, "--shard", "models"], 1, signal.SIGKILL),
    "stopped": (3, [*GRID, "--shard", "rows"], 1, signal.SIGSTOP),
    "leader": (2, [*GRID, "--shard", "models"], 0, signal.SIGSTOP),
    "probing": (2, PROBE, 1, signal.SIGKILL),
}


@pytest.mark.parametrize(("size", "work", "victim", "number"), LOST.values(), ids=LOST)
def test_a_rank_that_is_lost_ends_the_others(files, size, work, victim, number):
    """Within the timeout and ten seconds; where it goes on later, it ends, too."""
    timeout, port = 2, free_port()
    endless = [*work, "--epochs", "1000000", "--rank-timeout", timeout]
    processes = launch(size, *endless, "--out", "out", port=port)
    wait_for_life(size, port)
    processes[victim].send_signal(number)
    sent = time.monotonic()
    ends = results([process for rank, process in enumerate(processes) if rank != victim])
    assert time.monotonic() - sent < timeout + 10
    (line,) = "".join(error for _, _, error in ends).splitlines()
    assert line.startswith(f"onelayer: rank {victim} of {size}: ")
    assert {status for status, *_ in ends} == {2}
    processes[victim].send_signal(signal.SIGCONT)
    processes[victim].communicate(timeout=20)
    assert processes[victim].returncode in (2, -signal.SIGKILL)


ADDRESS, CABLE = "10.77.0.1", "cable"


@pytest.fixture
def machines():
    """Return two network namespaces that a cable joins: to the network, they are two machines."""
    names = [f"onelayer-{os.getpid()}-{end}" for end in (1, 2)]
    ends = [f"link add {CABLE} netns {names[0]} type veth peer name {CABLE} netns {names[1]}"]
    for number, name in enumerate(names, 1):
        ends.append(f"-n {name} address add 10.77.0.{number}/24 dev {CABLE}")
        ends += [f"-n {name} link set {device} up" for device in (CABLE, "lo")]
    try:
        for words in (*(f"netns add {name}" for name in names), *ends):
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        yield names
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces for two machines: {error}")
    finally:
        for name in names:
            with suppress(OSError):
                subprocess.run(["ip", "netns", "delete", name], capture_output=True)


MACHINES = {
    "models": (2, [*GRID, "--shard", "models", "--stacks", "2"]),
    "rows": (1, [*GRID, "--shard", "rows"]),
    "probes": (2, PROBE),
}


@pytest.mark.parametrize(("stacks", "work"), MACHINES.values(), ids=MACHINES)
def test_a_cable_that_is_cut_ends_both_machines(files, machines, stacks, work):
    """In the middle of the training, and each says in one line that the other is lost."""
    timeout, kept = 3, files / "out.unfinished/checkpoints"
    endless = [*work, "--epochs", "1000000", "--checkpoint", "5", "--rank-timeout", timeout]
    ranks = launch(2, *endless, "--out", "out", address=ADDRESS, network=CABLE, on=machines)
    while len({tuple(path.name.split(".")[:2]) for path in kept.glob("*")}) < stacks:
        time.sleep(0.02)
        assert all(process.poll() is None for process in ranks)
    cut = ["ip", "-n", machines[1], "link", "set", CABLE, "down"]
    subprocess.run(cut, check=True)
    begin = time.monotonic()
    ends = results(ranks)
    assert time.monotonic() - begin < timeout + 10
    for rank, (status, _, error) in enumerate(ends):
        *_, line = error.splitlines()
        assert (status, line.split(": ")[:2]) == (2, ["onelayer", f"rank {1 - rank} of 2"])


def test_machines_that_look_for_each_other_on_the_wrong_network_end(machines):
    ranks = launch(2, *GRID, "--out", "never", address=ADDRESS, network="lo", on=machines)
    ends = results(ranks)
    assert {status for status, *_ in ends} == {2}
    told = [line for *_, error in ends for line in error.splitlines() if "onelayer: " in line]
    assert told
    assert all(f"{ADDRESS}:" in line and "GLOO_SOCKET_IFNAME" in line for line in told)
