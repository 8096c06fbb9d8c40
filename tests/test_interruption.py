"""Real stages, killed at random moments and started again: the outputs of an undisturbed run, bit for bit.

The moments differ from run to run, as the machine's speed does; what is asserted holds whatever they are.
"""

import hashlib
import http.server
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import Layout

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

# Long enough to be killed in: a second of epochs, a few of trials.
PARAMS = """\
source: official
datasets: [tiny]
experiments:
  tiny:
    dataset: tiny
    model: {hidden: [300, 300]}
    optimizer: momentum
    training: {epochs: 60}
  tiny_grid:
    dataset: tiny
    training: {epochs: 20}
    search:
      space:
        model: {hidden: [[20], [40], [60]]}
        optimizer: {learning_rate: [0.1, 0.2, 0.3, 0.4]}
"""

# Each with how many times it is killed before it may end.
COMMANDS = {
    ("fetch", "tiny", "--source", "official"): 6,
    ("fetch", "mnist"): 3,
    ("parse", "mnist"): 4,
    ("parse", "tiny", "--source", "official"): 3,
    ("compose", "tiny"): 3,
    ("compose", "tiny_grid"): 2,
    ("split", "tiny"): 3,
    ("split", "tiny_grid"): 2,
    ("train", "tiny"): 14,
    ("train", "tiny_grid"): 8,
    ("evaluate", "tiny"): 3,
    ("evaluate", "tiny_grid"): 2,
    ("plot", "tiny"): 3,
    ("plot", "tiny_grid"): 3,
    ("results",): 3,
}


class SlowMirror(http.server.SimpleHTTPRequestHandler):
    """Serves a folder by ranges, a few kilobytes at a time."""

    protocol_version = "HTTP/1.1"
    folder: Path
    sent = 0

    def do_GET(self) -> None:
        path = self.folder / self.path.strip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        asked = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("ETag", '"one"')
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        for start in range(first, len(data), 4096):
            try:
                self.wfile.write(data[start : start + 4096])
            except OSError:  # killed
                return
            type(self).sent += len(data[start : start + 4096])
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tiny: Any) -> Iterator[str]:  # noqa: ANN401  (of conftest.py)
    handler = type("Handler", (SlowMirror,), {"folder": tiny.raw, "sent": 0})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class Checkout:
    """Runs stages of a checkout as processes of their own."""

    def __init__(self, root: Path, mirror: str) -> None:
        self.layout = Layout(root)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PIPELINE_MIRROR": mirror,
            "PIPELINE_WORKERS": "2",
            "NO_PROXY": "127.0.0.1",
        }

    def start(self, arguments: tuple[str, ...]) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603  (our own interpreter)
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=self.layout.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, arguments: tuple[str, ...]) -> str:
        process = self.start(arguments)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return said

    def made(self) -> dict[str, str]:
        """The hash of every file that the stages have made, by its path."""
        root = self.layout.root
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for top in ("data", "outputs")
            for path in sorted((root / top).rglob("*"))
            # A killed process cannot remove what it was writing; neither git nor DVC looks at it.
            if path.is_file() and not path.name.endswith(".tmp")
        }


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[bool, str]:
    """Send a signal to a process, not to those that it started; whether it was killed, and what it said.

    Afterwards none of them is left.
    """
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode in {0, -number, 128 + number}, said
    if process.returncode == 128 + number:
        assert said.endswith(("pipeline: terminated\n", "pipeline: interrupted\n")), said
    deadline = time.monotonic() + 60
    while group_lives(process.pid):
        assert time.monotonic() < deadline, f"a process that {process.args} started outlives it"
        time.sleep(0.05)
    return process.returncode != 0, said


def group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_state(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until the process saves something to go on from, or ends."""
    seen = signature(folder)
    while process.poll() is None and signature(folder) == seen:
        time.sleep(0.002)


def signature(folder: Path) -> list[tuple[str, int]]:
    found = []
    for path in folder.rglob("*"):
        try:
            found.append((path.name, path.stat().st_mtime_ns))
        except FileNotFoundError:  # between the two
            continue
    return sorted(found)


def gone_on(said: str) -> list[tuple[int, ...]]:
    """How many trials and epochs a run that goes on found done, -1 for what it does not tell."""
    trials = re.search(r"interrupted: ([0-9]+) trials are done", said)
    epochs = re.search(r"going on after epoch ([0-9]+) ", said)
    return [tuple(int(found[1]) if found else -1 for found in (trials, epochs))] if trials or epochs else []


def test_killed_stages_give_the_outputs_of_undisturbed_ones(
    checkout: Layout,
    tmp_path: Path,
    mirror: str,
) -> None:
    checkout.params.write_text(PARAMS)
    shutil.copytree(checkout.root, tmp_path / "undisturbed")
    undisturbed = Checkout(tmp_path / "undisturbed", mirror)
    seconds = {}
    for arguments in COMMANDS:
        start = time.monotonic()
        undisturbed.finish(arguments)
        seconds[arguments] = time.monotonic() - start
    expected = undisturbed.made()

    chance = random.Random(0)  # noqa: S311  (moments to kill at)
    disturbed = Checkout(checkout.root, mirror)
    killed = resumed = 0
    for arguments, kills in COMMANDS.items():
        going_on: list[tuple[int, ...]] = []
        before = disturbed.made()
        left = kills
        while left:
            process = disturbed.start(arguments)
            if arguments[0] == "train" and left % 3:
                wait_for_state(process, checkout.states)
                time.sleep(chance.uniform(0, 0.1))
            else:
                time.sleep(chance.uniform(0, 1.1) * seconds[arguments])
            was_killed, said = end(process, SIGNALS[left % len(SIGNALS)])
            # Nothing half-written: what is there is what belongs there.
            assert disturbed.made().items() <= expected.items()
            going_on += gone_on(said)
            if was_killed:
                left -= 1
                killed += 1
                last = f"outputs/{arguments[-1]}/trials.csv"
                if (
                    arguments[0] != "train"
                    or list(checkout.states.glob("*/*"))
                    or last not in disturbed.made()
                ):
                    continue
            # It was done before the moment came. As DVC does, the next one begins without its outputs.
            assert list(checkout.states.glob("*/*")) == []
            for path in disturbed.made().keys() - before.keys():
                (checkout.root / path).unlink()
            assert going_on == sorted(going_on)
            resumed += len(going_on)
            going_on = []
        going_on += gone_on(disturbed.finish(arguments))
        assert going_on == sorted(going_on)
        resumed += len(going_on)
    assert disturbed.made() == expected
    assert killed >= 50
    assert resumed >= 5
    print(f"{killed} kills, after {resumed} of which there was something to go on from")  # noqa: T201  (shown by -s)
