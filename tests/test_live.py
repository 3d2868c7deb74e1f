"""A training watched in a browser: who may look, and that looking changes nothing."""

import base64
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlsplit

import numpy as np
import pytest

from made import make_data
from made_results import HOSTILE, make_results
from onelayer import Dataset, Split
from onelayer.cli.options import show_live
from onelayer.errors import InputError
from onelayer.evaluation.run_folder import RunFolder
from onelayer.experiments.reproduce import reproduce
from onelayer.experiments.spec import ExperimentOptions, spec_of_grid
from onelayer.report.explore import render_explore
from onelayer.tracking import live as live_module
from onelayer.tracking.live import Live, _interrupt, open_live
from onelayer.training.hyperparameters import Hyperparameters, grid
from onelayer.training.loop import train
from onelayer.training.machine import GB, Machine
from onelayer.training.options import TrainingOptions

pytest.importorskip("uvicorn", reason="the extra live")
from onelayer.tracking import live_server
from onelayer.tracking.live_server import READERS, LiveServer, News

SETTINGS = grid(l2=[0, 0.1], learning_rate=[0.01, 0.02])
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


class Served(LiveServer):
    """A server of a page without a training; `stops` counts the presses of its button."""

    def __init__(self, **options):
        self.latest, self.stops = News(0, "first", False), 0
        super().__init__(lambda: "<p>page</p>", lambda: self.latest, self._count, **options)

    def _count(self):
        self.stops += 1

    def tell(self, text, over=False):
        self.latest = News(self.latest.number + 1, text, over)


@pytest.fixture(scope="module")
def server():
    served = Served()
    yield served
    served.close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(live_server, "PERIOD", 0.01)
    monkeypatch.setattr(live_server, "PATIENCE", 0.05)


def ask(port, method, target, **headers):
    """Return the answer to a request with these headers alone, without what a stream tells."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, target, skip_host=True)
    for name, value in ({"Host": f"127.0.0.1:{port}"} | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    connection.close()
    return answer


def follow(url):
    """Yield the data of the events of a page's server."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=10)
    connection.request("GET", f"/events?{address.query}")
    try:
        for line in connection.getresponse():
            if line.startswith(b"data: "):
                yield line[6:].decode().rstrip("\n")
    finally:
        connection.close()


@pytest.mark.parametrize("method", METHODS)
def test_every_request_needs_the_token(server, method):
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    for path in ("/", "/events", "/stop", "/other"):
        for query in ("", "?token=", "?token=wrong", f"?other={server.token}", "?token=%F0%28"):
            assert ask(server.port, method, path + query, **own).status == 403
    assert server.stops == 0


def test_tokens_are_long_and_differ(server):
    other = Served()
    other.close()
    assert other.token != server.token
    assert len(server.token) >= 32  # of 64 characters: 192 bits
    assert server.url == f"http://127.0.0.1:{server.port}/?token={server.token}"


@pytest.mark.parametrize("method", METHODS)
def test_another_host_is_refused_for_every_method(server, method):
    for host in ("example.org", "127.0.0.1.example.org", "localhost.example.org:80", "x@localhost",
                 "0.0.0.0", "", "127.0.0.1:1:2", "127.0.0.2", "localhost:"):  # fmt: skip
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert ask(server.port, method, f"/?token={server.token}", **headers).status in (400, 403)


@pytest.mark.parametrize("method", METHODS)
def test_another_origin_is_refused_for_every_method(server, method):
    for origin in ("http://example.org", "null", f"https://127.0.0.1:{server.port}", "",
                   f"http://localhost:{server.port}", "http://127.0.0.1:1"):  # fmt: skip
        for path in ("/", "/events", "/stop"):
            target = f"{path}?token={server.token}"
            assert ask(server.port, method, target, Origin=origin).status == 403
    assert server.stops == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8000", "127.0.0.1:65535"])
def test_a_tunnel_with_any_port_works(server, host):
    own = {"Host": host, "Origin": f"http://{host}"}
    assert ask(server.port, "GET", f"/?token={server.token}", **own).status == 200
    assert ask(server.port, "GET", f"/?token={server.token}", Host=host).status == 200
    before = server.stops
    assert ask(server.port, "POST", f"/stop?token={server.token}", **own).status == 204
    assert server.stops == before + 1
    server.stops = 0


def test_one_post_is_all_that_changes_anything_and_nobody_else_may_read(server):
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    found = {}
    for method in METHODS:
        for path in ("/", "/events", "/stop", "/stop/", "/explore.html", "/../etc/passwd"):
            answer = ask(server.port, method, f"{path}?token={server.token}", **own)
            found[method, path] = answer.status
            assert not [name for name, _ in answer.getheaders() if "access-control" in name.lower()]
            assert answer.getheader("Cache-Control") == "no-store"
            assert answer.getheader("Content-Security-Policy") == "frame-ancestors 'none'"
    good = {asked for asked, status in found.items() if status < 300}
    assert good == {(m, p) for m in ("GET", "HEAD") for p in ("/", "/events")} | {("POST", "/stop")}
    assert server.stops == 1
    server.stops = 0
    # Browsers name the origin of every POST; who does not is none.
    assert ask(server.port, "POST", f"/stop?token={server.token}").status == 403


def test_it_listens_on_this_machine_alone(server):
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)


def test_there_are_sixteen_connections_at_most(quick):
    server = Served()
    request = f"GET /?token={server.token} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    def served(connection):
        try:
            connection.sendall(request)
            return connection.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False

    with ExitStack() as stack:
        connect = partial(socket.create_connection, ("127.0.0.1", server.port), timeout=5)
        held = [stack.enter_context(connect()) for _ in range(READERS)]
        assert all(map(served, held))
        assert not served(stack.enter_context(connect()))
        held[0].close()
        for _ in range(100):  # until its place is free
            if served(stack.enter_context(connect())):
                break
            time.sleep(0.02)
        else:
            pytest.fail("the place of a reader who left stays taken")
    server.close()


def test_a_stalled_reader_costs_nobody_anything(quick):
    server = Served()
    large = "x" * 8_000_000  # more than sockets hold
    with socket.create_connection(("127.0.0.1", server.port)) as stalled:
        server.tell(large)
        query = f"/events?token={server.token}"
        stalled.sendall(f"GET {query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        reader = follow(server.url)
        assert next(reader) == large
        for n in range(20):
            server.tell(f"{n}")
        server.tell("last", over=True)
        assert list(reader)[-1] == "last"  # whatever it missed, the latest comes
        begin = time.monotonic()
        server.close()
        assert time.monotonic() - begin < 2


def test_a_server_that_begins_again_has_the_latest_for_old_readers(quick):
    first = Served()
    reader = follow(first.url)
    assert next(reader) == "first"
    first.close()
    again = Served(port=first.port, token=first.token)
    again.tell("second", over=True)
    assert list(follow(first.url)) == ["second"]
    again.close()


# ---- what is told ------------------------------------------------------------------------------


def told(live):
    return json.loads(live.news().text)


def watched(settings=SETTINGS, data=None, machine=None, **options):
    """Return a run, its Live and what that told after every epoch."""
    data, options = data or make_data(), options or {"batch_size": 10, "epochs": 3}
    live, every = Live("made", data, settings, TrainingOptions(**options)), []

    def on_epoch(*arguments):
        live.on_epoch(*arguments)
        every.append(told(live))

    hooks = {"on_epoch": on_epoch, "on_stack": live.on_stack}
    return train(data, settings, **options, **(machine or {}), **hooks), live, every


def unpack(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), packed["type"]).reshape(packed["shape"])


@pytest.fixture
def always(monkeypatch):
    """Copy curves and weights after every epoch."""
    monkeypatch.setattr(live_module, "OFTEN", 0)
    monkeypatch.setattr(live_module, "_RARELY", 0)
    monkeypatch.setattr(live_module, "_SHARE", 0)


def test_the_page_knows_curves_and_weights_of_every_epoch(always):
    run, _, every = watched()
    assert [each["facts"]["epochs"] for each in every] == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
    facts = every[-1]["facts"]
    for name in ("train_loss", "validation_accuracy"):
        np.testing.assert_allclose(
            unpack(facts["curves"][name]), getattr(run.history, name), rtol=1e-6
        )
    np.testing.assert_array_equal(unpack(facts["weights"]), run.weights)
    np.testing.assert_array_equal(unpack(facts["scaling"]["factor"]), run.scaling.factor)
    earlier = unpack(every[1]["facts"]["weights"])
    assert earlier.shape == run.weights.shape
    assert not np.array_equal(earlier, run.weights)


def test_stacks_one_after_another_fill_one_page(always):
    engine = Machine().find_engine("float32", SETTINGS)
    memory = 3 * engine.model_bytes(4, 12, 10) / GB  # three models fit at once
    run, _, every = watched(machine={"memory": memory})
    assert len(run.provenance["stacks"]) > 1
    facts = every[-1]["facts"]
    assert facts["weighted"] == list(range(len(SETTINGS)))
    assert every[0]["facts"]["weighted"] == list(range(run.provenance["stacks"][0]))
    np.testing.assert_array_equal(unpack(facts["weights"]), run.weights)
    np.testing.assert_allclose(
        unpack(facts["curves"]["train_loss"]), run.history.train_loss, rtol=1e-6
    )
    assert "of settings 1 to " in every[1]["status"]


@pytest.mark.parametrize(
    "options",
    [{"epochs": 3, "evaluate_every": 0}, {"epochs": 5, "evaluate_every": 2}, {"epochs": 0},
     {"keep": "best", "patience": 1}, {"scaling": "standardise", "dtype": "float64"}],
    ids=str,
)  # fmt: skip
def test_every_kind_of_training_is_told(always, options):
    run, _, every = watched(**options)
    assert every[-1]["facts"]["epochs"] == run.history.measured.tolist()


def test_the_exact_solver_is_told_at_its_end():
    _, live, every = watched(grid(l2=[0.1, 1], learning_rate=[0.01]), solver="exact")
    assert "2 of 2" in every[-1]["status"]
    assert "<title>made: live</title>" in live.page()


def test_settings_that_diverge_leave_the_others_on_the_page(always):
    settings = [Hyperparameters(l2=10.0, learning_rate=1e4), Hyperparameters()]
    run, _, every = watched(settings, epochs=30)
    assert run.stopped[0]
    finals = unpack(every[-1]["facts"]["finals"]["validation_loss"])
    np.testing.assert_allclose(finals[1], run.final("validation_loss")[1], rtol=1e-6)


def test_without_validation_or_pictures_there_is_a_page(always):
    data = make_data()
    alone = Dataset("made", data.train, None, None, data.class_names)
    _, live, every = watched(data=alone)
    assert every[-1]["facts"]["image_shape"] is None
    live.page()


def test_weights_that_are_too_many_are_not_copied(always, monkeypatch):
    monkeypatch.setattr(live_module, "_LARGEST", 100)
    _, _, every = watched()
    assert every[-1]["facts"]["weighted"] == []


def test_the_time_left_is_what_the_epochs_took_so_far():
    live = Live("made", make_data(), SETTINGS, TrainingOptions(epochs=10))
    assert live._describe(4, range(4), 20.0) == "Epoch 4 of 10, about 30 s left"
    assert live._describe(5, range(2, 4), 7200 * 3) == (
        "Epoch 5 of 10 of settings 3 to 4, about 2 h left"
    )
    assert "left" not in live._describe(0, range(4), 0.0)
    assert "repeats" in live._describe(10, range(4), 1.0)


def test_names_stay_text_before_and_during_the_training(always):
    data = make_data()
    names = (*HOSTILE[:3], "</script><script>alert(1)</script>")
    parts = [Split(part.X, part.y) for part in (data.train, data.validation, data.test)]
    _, live, _ = watched(data=Dataset(names[-1], *parts, names))
    assert "<script>alert" not in live.page()
    assert "<script>alert" not in live.news().text
    assert told(live)["facts"]["classes"] == list(names)


def policy_of(page):
    (text,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in text.split(";"))
    return {name: re.sub(r"sha256-[^']*", "sha256", rule) for name, rule in rules.items()}


def test_the_policy_is_that_of_the_explorable_page_and_its_own_server():
    page = Live("made", make_data(), SETTINGS, TrainingOptions()).page()
    expected = policy_of(render_explore(make_results()))
    assert "connect-src" not in expected
    expected["script-src"] += " 'sha256'"
    assert policy_of(page) == expected | {"connect-src": "'self'"}
    assert re.findall(r"<[^>]* (?:style|on\w+|src|href)=[^>]*>", page) == [
        '<link rel="icon" href="data:,">'
    ]


# ---- how it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "The training ended."), (KeyboardInterrupt, "The training was stopped."),
     (ValueError, "The training ended in an error.")],
)  # fmt: skip
def test_readers_are_told_how_it_ended(quick, error, status):
    urls, heard = [], []
    try:
        with open_live("made", make_data(), SETTINGS, TrainingOptions(), urls.append):
            reader = follow(urls[0])
            heard.append(next(reader))
            if error:
                raise error
    except (KeyboardInterrupt, ValueError):
        assert error is not None
    last = json.loads(list(reader)[-1])
    assert (last["status"], last["over"]) == (status, True)
    assert json.loads(heard[0])["over"] is False
    with pytest.raises(OSError, match="refused"):
        next(follow(urls[0]))


def small():
    options = ExperimentOptions(epochs=3, repeats=0)
    return spec_of_grid("digits", grid(l2=[0, 0.01], learning_rate=[0.1]), options, {})


def test_a_run_that_is_watched_has_the_same_bits(tmp_path, quick, always):
    urls, heard = [], []
    plain = reproduce(small(), tmp_path / "plain", report="none")

    def watch(url):
        urls.append(url)
        reader = threading.Thread(target=lambda: heard.extend(follow(url)))
        reader.start()
        urls.append(reader)
        next(follow(url))  # and one that leaves at once

    seen = reproduce(small(), tmp_path / "seen", report="none", live=watch)
    urls[1].join(10)
    assert json.loads(heard[-1])["over"]
    np.testing.assert_array_equal(seen.run.weights, plain.run.weights)
    np.testing.assert_array_equal(seen.run.biases, plain.run.biases)
    np.testing.assert_array_equal(seen.run.history.train_loss, plain.run.history.train_loss)
    np.testing.assert_array_equal(seen.test_accuracies, plain.test_accuracies)
    stored = RunFolder.open(tmp_path / "seen").results()
    np.testing.assert_array_equal(stored.run.weights, plain.run.weights)


def test_the_button_ends_a_command_as_ctrl_c_does(tmp_path):
    program = [sys.executable, "-m", "onelayer", "train", "digits", "--epochs", "20000"]
    program += ["--batch-size", "10", "--repeats", "0", "--live", "--out", str(tmp_path / "out")]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(program, stdout=-1, stderr=-1, text=True))
        stack.callback(process.kill)
        address = next(
            urlsplit(line.split()[1]) for line in process.stdout if line.startswith("live: ")
        )
        assert address.hostname == "127.0.0.1"
        reader = follow(address.geturl())
        while "Epoch" not in json.loads(next(reader))["status"]:
            pass
        own = {"Origin": f"http://{address.netloc}"}
        assert ask(address.port, "POST", f"/stop?{address.query}", **own).status == 204
        assert json.loads(list(reader)[-1])["status"] == "The training was stopped."
        assert process.wait(20) == 130
        assert process.stderr.read() == "onelayer: interrupted by SIGINT\n"
    assert list(tmp_path.iterdir()) == []


def test_where_ctrl_c_is_ignored_the_button_works_all_the_same(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    other = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        _interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, other)
    assert heard == [signal.SIGTERM]


def test_a_missing_package_says_how_to_install_it_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "onelayer.tracking.live_server")
    monkeypatch.delattr("onelayer.tracking.live_server")
    with pytest.raises(InputError, match=r"^live: pip install 'onelayer\[live\]'"):
        reproduce(small(), tmp_path / "out", live=print)
    assert list(tmp_path.iterdir()) == []


def test_no_browser_opens_where_nobody_sits(monkeypatch, capsys):
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail(url))
    monkeypatch.setenv("DISPLAY", ":0")
    show_live("http://127.0.0.1:1/?token=x")
    assert capsys.readouterr().out == "live: http://127.0.0.1:1/?token=x\n"
