"""Which stages run beside which, with processes that only write down when they ran."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import PipelineError
from pipeline.repro import jobs
from pipeline.repro.jobs import Job
from tests.shared import interrupt_what_starts

EXPERIMENTS = {
    "fetch@a": [],
    "parse@a": ["fetch@a"],
    "compose@x": [],
    "compose@y": [],
    "split@x": ["parse@a", "compose@x"],
    "split@y": ["parse@a", "compose@y"],
    "train@x": ["parse@a", "compose@x", "split@x"],
    "train@y": ["parse@a", "compose@y", "split@y"],
    "results": ["compose@x", "train@x", "train@y"],
}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Any graph without circles, its stages listed in any order."""
    count = draw(st.integers(1, 8))
    needs = {
        f"s{number}": [f"s{other}" for other in range(number) if draw(st.booleans())]
        for number in range(count)
    }
    return {stage: needs[stage] for stage in draw(st.permutations(sorted(needs)))}


def test_the_graph_as_dvc_prints_it() -> None:
    text = 'strict digraph {\n"a@x";\n"b";\n"c";\n"c" -> "b";\n"a@x" -> "b";\n}\n'
    assert jobs.read_graph(text) == {"a@x": [], "b": ["a@x", "c"], "c": []}


def test_what_targets_need() -> None:
    assert set(jobs.needed_for(EXPERIMENTS, ["split@x"])) == {"fetch@a", "parse@a", "compose@x", "split@x"}
    assert jobs.needed_for(EXPERIMENTS, EXPERIMENTS) == EXPERIMENTS


def test_a_target_is_a_stage_or_an_experiment() -> None:
    assert jobs.stages_of(EXPERIMENTS, "split@x") == ["split@x"]
    assert {"compose@x", "split@x", "train@x"} <= set(jobs.stages_of(EXPERIMENTS, "x"))
    assert all(stage.endswith("@x") for stage in jobs.stages_of(EXPERIMENTS, "x"))
    for name in ("train@z", "z", ""):
        with pytest.raises(PipelineError, match=rf"^{name}: no experiment of params\.yaml, and no stage"):
            jobs.stages_of(EXPERIMENTS, name)


def test_one_experiment_ends_before_the_next_begins() -> None:
    order = jobs.order_by_end(EXPERIMENTS)
    assert sorted(order) == sorted(EXPERIMENTS)
    place = {stage: order.index(stage) for stage in order}
    assert all(place[before] < place[stage] for stage, needs in EXPERIMENTS.items() for before in needs)
    of_x = [place[stage] for stage in jobs.stages_of(EXPERIMENTS, "x")]
    of_y = [place[stage] for stage in jobs.stages_of(EXPERIMENTS, "y")]
    assert max(of_x) < min(of_y)


def test_chains_are_one_job() -> None:
    assert jobs.jobs_of(EXPERIMENTS) == [
        Job(("fetch@a", "parse@a"), frozenset()),
        Job(("compose@x", "split@x", "train@x"), frozenset({"parse@a"})),
        Job(("compose@y", "split@y", "train@y"), frozenset({"parse@a"})),
        Job(("results",), frozenset({"train@x", "train@y"})),
    ]


def test_a_wide_stage_is_a_job_of_its_own() -> None:
    found = {job.name: job for job in jobs.jobs_of(EXPERIMENTS, wide={"train@y"})}
    assert found["train@y"] == Job(("train@y",), frozenset({"split@y"}), is_wide=True)
    assert found["split@y"].stages == ("compose@y", "split@y")
    assert [name for name, job in found.items() if job.is_wide] == ["train@y"]


def test_siblings_are_not_put_into_one_job() -> None:
    assert len(jobs.jobs_of({"root": [], "left": ["root"], "right": ["root"]})) == 3
    assert len(jobs.jobs_of({"left": [], "right": [], "end": ["left", "right"]})) == 3


@given(graph=graphs(), data=st.data())
def test_jobs_in_any_allowed_order_keep_the_order_of_the_graph(
    graph: dict[str, list[str]], data: st.DataObject
) -> None:
    wide = data.draw(st.sets(st.sampled_from(sorted(graph))))
    left = jobs.jobs_of(graph, wide)
    assert sorted(stage for job in left for stage in job.stages) == sorted(graph)
    assert {job.name for job in left if job.is_wide} == wide
    ran: list[str] = []
    done: set[str] = set()
    while left:
        # There is always one that may run: no job waits for itself by way of others.
        job = data.draw(st.sampled_from([job for job in left if job.after <= done]))
        for stage in job.stages:
            assert set(graph[stage]) <= set(ran)
            ran.append(stage)
        done.add(job.name)
        left.remove(job)


@given(graph=graphs())
def test_the_serial_order_has_what_is_needed_before(graph: dict[str, list[str]]) -> None:
    order = jobs.serial_order(graph)
    assert sorted(order) == sorted(graph)
    for place, stage in enumerate(order):
        assert set(graph[stage]) <= set(order[:place])


LOCK = """\
schema: '2.0'
stages:
  b:
    cmd: two
    deps:
    - path: x
  a@1:
    cmd: |-
      one

      more
  new:
    cmd: three
"""


def test_the_stages_of_a_lock_file_are_put_in_order() -> None:
    assert jobs.stages_in(LOCK) == ["b", "a@1", "new"]
    assert jobs.in_order(LOCK, ["b", "a@1"]) == LOCK
    changed = jobs.in_order(LOCK, ["a@1", "b"])
    assert jobs.stages_in(changed) == ["a@1", "b", "new"]
    assert jobs.in_order(changed, ["b", "a@1", "new"]) == LOCK
    assert jobs.in_order("", ["a"]) == ""
    assert jobs.in_order("schema: '2.0'\nstages: {}\n", ["a"]) == "schema: '2.0'\nstages: {}\n"


# Running

# Writes the job's beginning and end, waits for what is asked of it in between, and ends as asked.
PROGRAM = """
import os, sys, time
name, folder, does = sys.argv[1:4]
def write(text):
    with open(os.path.join(folder, "log"), "a") as file:
        file.write(text + chr(10))
write("+" + name)
if does.startswith("meet"):
    for _ in range(12000):
        if "+" + does[5:] in open(os.path.join(folder, "log")).read().split():
            break
        time.sleep(0.01)
    else:
        sys.exit(3)
if does == "wait for a failure":
    for _ in range(12000):
        if os.path.exists(os.path.join(folder, "told")):
            break
        time.sleep(0.01)
    else:
        sys.exit(3)
if does == "fail":
    print(f"ERROR: failed to reproduce '{name}': it did not end well", flush=True)
    sys.exit(1)
print("done with", name, flush=True)
write("-" + name)
"""


def run(
    folder: Path,
    given_jobs: list[Job],
    does: dict[str, str] | None = None,
    *,
    count: int = 2,
    weights: dict[str, float] | None = None,
) -> tuple[list[str], list[str]]:
    """What began (+) and ended (-), and the lines reported."""
    (folder / "log").touch()
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if "what still runs" in line:
            (folder / "told").touch()

    try:
        jobs.run(
            given_jobs,
            lambda job: [
                sys.executable,
                "-S",
                "-c",
                PROGRAM,
                job.name,
                str(folder),
                (does or {}).get(job.name, ""),
            ],
            count=count,
            weights=weights or {},
            root=folder,
            environment=lambda _: os.environ,
            report=report,
        )
    finally:
        log = (folder / "log").read_text().split()
    return log, lines


def job(name: str, *after: str, is_wide: bool = False) -> Job:
    return Job((name,), frozenset(after), is_wide)


def test_independent_jobs_run_side_by_side(tmp_path: Path) -> None:
    """Each waits for the other to have begun."""
    log, lines = run(tmp_path, [job("a"), job("b")], {"a": "meet b", "b": "meet a"})
    assert set(log[:2]) == {"+a", "+b"}
    assert sorted(lines) == ["a | done with a", "b | done with b"]


def test_no_more_than_asked_for_and_in_order(tmp_path: Path) -> None:
    log, _ = run(tmp_path, [job("c", "b"), job("b", "a"), job("a"), job("d")], count=1)
    assert log == ["+a", "-a", "+b", "-b", "+c", "-c", "+d", "-d"] or log[0] == "+d"
    assert all(first[1:] == second[1:] for first, second in zip(log[::2], log[1::2], strict=True))
    assert log.index("-a") < log.index("+b") < log.index("-b") < log.index("+c")


def test_the_heaviest_goes_first_by_all_that_waits_for_it(tmp_path: Path) -> None:
    given_jobs = [job("light"), job("heavy"), job("head"), job("tail", "head")]
    log, _ = run(tmp_path, given_jobs, count=1, weights={"light": 1, "heavy": 3, "tail": 5})
    assert log[::2] == ["+head", "+tail", "+heavy", "+light"]


def test_a_wide_job_runs_alone(tmp_path: Path) -> None:
    given_jobs = [job("wide", is_wide=True), job("a"), job("b", "a"), job("end", "wide")]
    log, _ = run(tmp_path, given_jobs, count=3, weights={"wide": 100})
    assert log[-4:] == ["+wide", "-wide", "+end", "-end"]


def test_after_a_failure_nothing_new_starts(tmp_path: Path) -> None:
    given_jobs = [job("bad"), job("good"), job("next", "good"), job("last", "bad")]
    does = {"bad": "fail", "good": "wait for a failure"}
    with pytest.raises(PipelineError, match=r"^bad failed \(see above\); 2 more were not started$"):
        run(tmp_path, given_jobs, does)
    assert set((tmp_path / "log").read_text().split()) == {"+bad", "+good", "-good"}


def test_the_failed_stage_is_named_and_not_only_its_job(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"^split@x failed \(see above\)$"):
        jobs.run(
            [Job(("split@x", "train@x"), frozenset())],
            lambda _: [
                sys.executable,
                "-c",
                "print(\"failed to reproduce 'split@x': no\"); raise SystemExit(255)",
            ],
            count=1,
            weights={},
            root=tmp_path,
            environment=lambda _: os.environ,
            report=lambda _: None,
        )


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from pipeline.repro import jobs
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as the command line does
folder = Path(sys.argv[1])
sleeping = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
shell = "exec 2>/dev/null; {0} -S -c \\"{1}\\" {2} & wait"
jobs.run(
    [jobs.Job(("a",), frozenset())],
    # A process below the process, as a stage's command is below DVC.
    lambda job: ["sh", "-c", shell.format(sys.executable, sleeping, folder / "pid")],
    count=1, weights={}, root=folder, environment=lambda _: os.environ, report=print,
)
"""


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(12000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited in vain")


def is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_processes(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "pid"
    with subprocess.Popen(  # noqa: S603  (this interpreter)
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(tmp_path)], stderr=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: path.exists() and path.read_text() != "")
        below = int(path.read_text())
        assert is_running(below)
        process.send_signal(number)
        assert process.wait(120) != 0
    wait_for(lambda: not is_running(below))


def test_an_interrupt_while_a_process_starts_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = interrupt_what_starts(monkeypatch)
    sleeping = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    with pytest.raises(KeyboardInterrupt):
        jobs.run(
            [job("a")],
            lambda _: sleeping,
            count=1,
            weights={},
            root=tmp_path,
            environment=lambda _: os.environ,
            report=print,
        )
    assert started[0].returncode is not None


def test_a_terminal_that_has_gone_ends_all_processes(tmp_path: Path) -> None:
    def gone(text: str) -> None:
        raise BrokenPipeError(32, text)

    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(BrokenPipeError) as caught:
        jobs.run(
            [job("a"), job("b", "a")],
            lambda _: [sys.executable, "-S", "-c", program],
            count=1,
            weights={},
            root=tmp_path,
            environment=lambda _: os.environ,
            report=gone,
        )
    process = int(caught.value.strerror.removeprefix("a | "))
    wait_for(lambda: not is_running(process))
