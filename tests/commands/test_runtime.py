"""The tiers measured beside each other."""

import subprocess
import sys

import pytest

from pipeline.commands import runtime
from pipeline.core.runtime import TIERS
from tests.conftest import Run


@pytest.mark.slow
def test_every_tier_that_runs_here_is_measured(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_SECONDS", 0.001)
    ended = cli("runtime")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].split()[:2] == ["tier", "784-100-10,"]
    assert {line.split()[0].rstrip(":") for line in lines[1 : 1 + len(TIERS)]} == set(TIERS)
    assert lines[1].split()[-1] == "1.00"  # beside itself


@pytest.mark.slow
def test_a_tier_whose_process_ends_is_left_out_and_told(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    start = runtime._start

    def start_all_but_one(tier: str) -> "subprocess.Popen[str]":
        if tier != "avx512":
            return start(tier)
        return subprocess.Popen(
            [sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    monkeypatch.setattr(runtime, "_start", start_all_but_one)
    ended = cli("runtime")
    assert ended.code == 0
    assert "avx512: does not run here; PIPELINE_RUNTIME=avx512 pipeline results says why" in ended.out


def test_a_process_that_ends_while_it_is_asked_is_no_error() -> None:
    program = "import os, time; os.close(0); print('closed', flush=True); time.sleep(600)"
    with subprocess.Popen(  # noqa: S603  (our own interpreter)
        [sys.executable, "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "closed\n"
            assert [runtime._ask(process, "784-100-10") for _ in range(2)] == [None, None]
        finally:
            process.kill()
