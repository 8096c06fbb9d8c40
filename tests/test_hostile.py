"""That benchmarks/hostile.py tells a file that is read from one that is refused or does harm."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def hostile() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)  # as for a script
        specification = importlib.util.spec_from_file_location("hostile", BENCHMARKS / "hostile.py")
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules["hostile"] = module  # dataclasses look their module up
        specification.loader.exec_module(module)
    return module


def test_a_good_and_a_hostile_file(hostile: ModuleType) -> None:
    good, system = hostile.PICKLES[:2]
    read = hostile._run(good)
    assert read.happened == "read: W1 (784, 100), b1 (100,), W2 (100, 10), b2 (10,)"
    assert 10e6 < read.peak_bytes < 200e6
    assert hostile._run(system).happened.endswith(
        "it asks for os.system, which is not numbers or text; nothing was run"
    )


def test_what_a_file_leaves_behind_is_seen(hostile: ModuleType) -> None:
    def make(flag: Path) -> bytes:
        flag.touch()
        return b"{}"

    assert hostile._run(hostile.Case("leaves a file", "json", make)).happened.startswith("LEFT BEHIND: ")


def test_an_exception_that_is_not_ours_is_seen(hostile: ModuleType) -> None:
    assert hostile._run(hostile.Case("no such reader", "none", lambda _: b"")).happened.startswith(
        "UNEXPECTED KeyError: "
    )


def test_a_table_is_wrong_if_a_case_is(hostile: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    fine, bad = hostile.Result("read: a|b\x1b", 0.1, 10**6), hostile.Result("DIED with 1: x", 0.1, 10**6)
    assert not hostile._print_table("title", iter([("case", fine)]))
    assert "| case | read: a\\|b? | 0.10 | 1 MB |" in capsys.readouterr().out
    assert not hostile._print_table("title", iter([("case", hostile.Result("HTTP 404 Not Found", 0.1, 1))]))
    assert hostile._print_table("title", iter([("case", fine), ("case", bad)]))
