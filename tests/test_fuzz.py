"""The fuzzer itself, and a small slice of what benchmarks/fuzz.py does for as long as it is asked to."""

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.core.errors import FormatError

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "fuzz.py"


def load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("fuzz", PATH)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["fuzz"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


fuzz = load()
TARGETS = fuzz.targets()


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files_end_in_a_value_or_one_line(name: str, tmp_path: Path) -> None:
    count = 40 if name == "cifar" else 250
    tally = fuzz.run(name, TARGETS[name], range(count), seed=1, folder=tmp_path)
    assert tally.findings == {}
    assert tally.inputs == tally.accepted + tally.refused == count
    # Changes that all get through, or none, would look for nothing.
    assert tally.accepted > 0
    assert tally.refused > tally.accepted


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_good(name: str, tmp_path: Path) -> None:
    for data, finish in TARGETS[name].seeds:
        TARGETS[name].read(finish(data), tmp_path)


def test_the_same_seed_gives_the_same_inputs() -> None:
    def some(seed: int) -> list[bytes]:
        return [fuzz.mutated(TARGETS["pickle"], fuzz.random.Random(f"{seed}/{n}")) for n in range(50)]

    assert some(0) == some(0)
    assert some(0) != some(1)
    assert len(set(some(0))) > 45


def broken(name: str) -> object:
    """A reader with one fault, which shows in every seventh input."""
    numbers = itertools.count(1)

    def read(data: bytes, folder: Path) -> object:
        del folder
        if next(numbers) % 7:
            return data
        if name == "another exception":
            raise KeyError("key")
        if name == "two lines":
            raise FormatError("input: wrong\nand told in two lines")
        if name == "an escape to the terminal":
            raise FormatError("input: \x1b[2J")
        if name == "a long story":
            raise FormatError("input: " + "x" * 2000)
        if name == "too slow":
            raise fuzz.TooSlowError
        fuzz.WATCH.hook("os.system", ("echo",))
        return data

    return fuzz.Target(read, [(b"seed", bytes)])


@pytest.mark.parametrize(
    "fault",
    [
        "another exception",
        "two lines",
        "an escape to the terminal",
        "a long story",
        "too slow",
        "runs something",
    ],
)
def test_a_faulty_reader_is_found_and_the_input_saved(fault: str, tmp_path: Path) -> None:
    tally = fuzz.run("broken", broken(fault), range(70), seed=0, folder=tmp_path)
    assert tally.finding_count == 10
    ((number, data),) = tally.findings.values()  # the first of its kind
    assert number == 6
    fuzz._save("broken", tally.findings, tmp_path / "found")
    assert (tmp_path / "found" / "broken-6.bin").read_bytes() == data


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("os.system", ("echo",)),
        ("subprocess.Popen", ("echo",)),
        ("import", ("antigravity", None)),
        ("exec", (None,)),
        ("socket.connect", (None, None)),
        ("open", ("/etc/passwd", "r", 0)),
        ("open", ("/proc/self/cgroup", "w", 0)),
    ],
)
def test_the_watch_sees_deeds(event: str, arguments: tuple[object, ...]) -> None:
    watch = fuzz.Watch()
    watch.hook(event, arguments)
    assert not watch.events  # nothing is being read
    watch.folder = "/tmp/folder"  # noqa: S108  (a name, not a file)
    watch.hook(event, arguments)
    watch.hook("open", ("/tmp/folder/input", "w", 0))  # noqa: S108  (the same)
    watch.hook("open", (3, "r", 0))
    watch.hook("builtins.id", (1,))
    assert len(watch.events) == 1
