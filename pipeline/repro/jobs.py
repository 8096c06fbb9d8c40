"""Stages of the pipeline side by side: which may run when, in processes of DVC's own.

DVC runs one stage at a time, but several of its processes may work in one checkout: each waits for the lock
of the checkout, lets go of it while a stage's command runs, and takes it again to write dvc.lock. What DVC
does not do then is to order the stages; that is done here, from the graph that it prints.
"""

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from pipeline.core import system
from pipeline.core.errors import PipelineError
from pipeline.core.lockfile import split_stages
from pipeline.core.registry import did_you_mean

Graph = Mapping[str, Sequence[str]]
"""Stage -> the stages that it needs the outputs of."""

_GRACE_SECONDS = 10
_NODE = re.compile(r'"([^"]+)";')
_EDGE = re.compile(r'"([^"]+)" -> "([^"]+)";')
_FAILED = re.compile(r"failed to reproduce '([^']+)'")


@dataclass(frozen=True)
class Job:
    """Stages that one process runs, one after the other.

    Attributes:
        stages: in the order of their running.
        after: the jobs that have to have ended before, by the last of their stages.
        is_wide: whether it uses all cores by itself, and so runs alone.
    """

    stages: tuple[str, ...]
    after: frozenset[str]
    is_wide: bool = False

    @property
    def name(self) -> str:
        """What tells it from other jobs: its last stage."""
        return self.stages[-1]

    @property
    def title(self) -> str:
        """The item that all its stages belong to, say an experiment, or else its last stage."""
        items = {stage.partition("@")[2] for stage in self.stages}
        return items.pop() or self.name if len(items) == 1 else self.name


def read_graph(text: str) -> dict[str, list[str]]:
    """The graph that ``dvc dag --dot`` prints."""
    graph: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := _EDGE.fullmatch(line.strip()):
            graph.setdefault(match[2], []).append(match[1])
        elif match := _NODE.fullmatch(line.strip()):
            graph.setdefault(match[1], [])
    return {stage: [before for before in graph if before in needs] for stage, needs in graph.items()}


def reachable(graph: Mapping[str, Collection[str]], starts: Iterable[str]) -> set[str]:
    """`starts`, and all that the graph leads to from them, directly or not."""
    found: set[str] = set()
    left = list(starts)
    while left:
        stage = left.pop()
        if stage not in found:
            found.add(stage)
            left += graph.get(stage, ())
    return found


def needed_for(graph: Graph, targets: Iterable[str]) -> dict[str, list[str]]:
    """The part of a graph that the stages `targets` need, themselves included."""
    kept = reachable(graph, targets)
    return {stage: list(needs) for stage, needs in graph.items() if stage in kept}


def serial_order(graph: Graph) -> list[str]:
    """The order in which ``dvc repro`` runs the stages: that of dvc.yaml, but what is needed comes before.

    `graphlib` gives another one, by levels; dvc.lock is sorted by this one.
    """
    order: dict[str, None] = {}

    def visit(stage: str) -> None:
        if stage not in order:
            for before in graph[stage]:
                visit(before)
            order[stage] = None

    for stage in graph:
        visit(stage)
    return list(order)


def order_by_end(graph: Graph) -> list[str]:
    """An order in which all that leads to one last stage is done before what only the next one needs."""
    needed = {before for needs in graph.values() for before in needs}
    return serial_order({stage: graph[stage] for stage in sorted(graph, key=lambda stage: stage in needed)})


def stages_of(graph: Graph, name: str) -> list[str]:
    """What a target stands for: a stage, or every stage of an item of dvc.yaml's, such as an experiment.

    Raises:
        PipelineError: there is nothing of this name.
    """
    found = [stage for stage in graph if name in {stage, stage.partition("@")[2] or stage}]
    if not found:
        names = {part for stage in graph for part in (stage, stage.partition("@")[2]) if part}
        raise PipelineError(
            f"{name}: no experiment of params.yaml, and no stage of dvc.yaml; `dvc stage list` shows them"
            + did_you_mean(name, names)
        )
    return found


def jobs_of(graph: Graph, wide: Collection[str] = ()) -> list[Job]:
    """The stages of a graph as few jobs: what could not run side by side anyway is one.

    A stage joins the job of the only stage that it waits for, where no other stage could. A first stage that
    only one other waits for joins that one, unless there are two such, which had better run side by side.

    Args:
        graph: the stages.
        wide: those that use all cores by themselves: each is a job of its own.
    """
    order = serial_order(graph)
    waits = _without_detours(graph, order)
    jobs: list[list[str]] = []
    job_of: dict[str, list[str]] = {}
    for stage in order:
        before = _stage_to_join(stage, waits)
        if before is None or stage in wide or before in wide:
            job_of[stage] = []
            jobs.append(job_of[stage])
        else:
            job_of[stage] = job_of[before]
        job_of[stage].append(stage)
    # By their last stages, as the order of the stages has it.
    jobs.sort(key=lambda job: order.index(job[-1]))
    result = []
    for job in jobs:
        needed = {before for stage in job for before in waits[stage]} - set(job)
        after = frozenset(job_of[stage][-1] for stage in needed)
        result.append(Job(tuple(job), after, is_wide=job[-1] in wide))
    return result


def _stage_to_join(stage: str, waits: Graph) -> str | None:
    """The stage whose job `stage` joins, for it could not run beside it anyway; None for none."""

    def followers(before: str) -> list[str]:
        return [other for other, needs in waits.items() if before in needs]

    if len(waits[stage]) == 1:
        (before,) = waits[stage]
        # Others that wait for nothing else would join it with the same right.
        rivals = [other for other in followers(before) if len(waits[other]) == 1]
        return before if rivals == [stage] else None
    firsts = [before for before in waits[stage] if not waits[before] and followers(before) == [stage]]
    return firsts[0] if len(firsts) == 1 else None


def _without_detours(graph: Graph, order: Sequence[str]) -> dict[str, list[str]]:
    """For each stage those that it waits for, less those that another of them waits for itself."""
    all_before: dict[str, set[str]] = {}
    direct: dict[str, list[str]] = {}
    for stage in order:
        needs = graph[stage]
        by_detour = set[str]().union(*(all_before[before] for before in needs))
        all_before[stage] = by_detour | set(needs)
        direct[stage] = [before for before in needs if before not in by_detour]
    return direct


def run(
    jobs: Sequence[Job],
    command: Callable[[Job], Sequence[str]],
    *,
    count: int,
    weights: Mapping[str, float],
    root: Path,
    environment: Callable[[Job], Mapping[str, str]],
    report: Callable[[str], None],
) -> None:
    """Run jobs in processes, at most `count` at a time, the heaviest of those that may run first.

    A wide job waits until nothing else is left to run beside it, and then runs alone. After the first failure
    no further job is started; an interrupt ends the processes and what they started.

    Args:
        jobs: what `jobs_of` gives.
        command: the command line of a job.
        count: how many at a time.
        weights: how long the stages take, in any unit; 0 for those that are not in it.
        root: the folder in which they run.
        environment: of a job's process.
        report: takes the lines that they print, with their job's title before it where several run at a time.

    Raises:
        PipelineError: a job failed; says which stage.
        OSError: `report` raised it; as after an interrupt, nothing is left running.
    """
    waiting, running, done = list(jobs), dict[str, _Process](), set[str]()
    ended: SimpleQueue[Job] = SimpleQueue()
    failed: list[str] = []
    heavy = _rest(jobs, weights)
    is_alone = False
    try:
        while running or (waiting and not failed):
            ready = [job for job in waiting if job.after <= done and not failed]
            ready.sort(key=lambda job: (job.is_wide, -heavy[job.name]))
            for job in ready:
                if running and (job.is_wide or is_alone or len(running) == count):
                    break
                is_alone = job.is_wide
                waiting.remove(job)
                # Known before it starts, so that a signal from then on ends it too.
                running[job.name] = _Process(job, f"{job.title} | " if count > 1 else "", report, ended)
                running[job.name].start(command(job), root, environment(job))
            job = ended.get()
            process = running[job.name]
            if process.unheard is not None:
                raise process.unheard
            del running[job.name]
            if process.wait():
                failed.append(process.failed_stage)
                if running:
                    report(f"{process.failed_stage} failed; what still runs may end: {', '.join(running)}")
            done.add(job.name)
    finally:
        _end(running.values())
    if failed:
        left = f"; {len(waiting)} more were not started" if waiting else ""
        raise PipelineError(f"{' and '.join(failed)} failed (see above){left}")


def _rest(jobs: Sequence[Job], weights: Mapping[str, float]) -> dict[str, float]:
    """The weight of each job and of the heaviest that waits for it, and so on to the end."""
    by_name = {job.name: job for job in jobs}
    rest: dict[str, float] = {}
    for name in reversed([*TopologicalSorter({job.name: job.after for job in jobs}).static_order()]):
        own = sum(weights.get(stage, 0) for stage in by_name[name].stages)
        rest[name] = own + max((rest[job.name] for job in jobs if name in job.after), default=0)
    return rest


class _Process:
    """A running job, whose lines a thread passes on, each after a label.

    Attributes:
        failed_stage: the one that failed, once one has.
        unheard: what hindered `report`: a terminal that has gone, a full disk.
    """

    def __init__(
        self, job: Job, label: str, report: Callable[[str], None], ended: "SimpleQueue[Job]"
    ) -> None:
        self._job, self._label, self._report, self._ended = job, label, report, ended
        self.failed_stage = job.name
        self.unheard: OSError | None = None
        self._process: subprocess.Popen[str] | None = None

    def start(self, command: Sequence[str], root: Path, environment: Mapping[str, str]) -> None:
        """Start it in `root`."""
        with system.postponed_signals():
            # A group of its own, so that all that it starts can be ended with it.
            self._process = subprocess.Popen(  # noqa: S603  (DVC, with stages of the checkout's dvc.yaml)
                command,
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                **system.own_group(),
            )
            threading.Thread(target=self._pass_on, args=(self._process.stdout,), daemon=True).start()

    def _pass_on(self, output: IO[str]) -> None:
        try:
            with output as lines:
                for line in lines:
                    if match := _FAILED.search(line):
                        self.failed_stage = match[1]
                    if line.strip():
                        self._report(f"{self._label}{line.rstrip()}")
        except OSError as error:
            self.unheard = error
        finally:
            # Whatever happens, `run` waits for this.
            self._ended.put(self._job)

    def wait(self, seconds: float | None = None) -> int:
        """The exit code; subprocess.TimeoutExpired if there is none after so long."""
        return 0 if self._process is None else self._process.wait(seconds)

    def interrupt(self) -> None:
        """Interrupt the process and all that it started, as the keyboard does."""
        if self._process is not None:
            system.interrupt_group(self._process)

    def kill(self) -> None:
        """End the process and all that it started."""
        if self._process is not None:
            system.kill_group(self._process)


def _end(processes: Iterable[_Process]) -> None:
    """End what still runs: as an interrupt from the keyboard does, so that DVC cleans up; else by force."""
    left = list(processes)
    for process in left:
        process.interrupt()
    for process in left:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        process.kill()
        process.wait()


def dvc(*arguments: str) -> list[str]:
    """The command line of DVC, that of this interpreter's environment."""
    return [sys.executable, "-m", "dvc", *arguments]


def stages_in(lock: str) -> list[str]:
    """The stages in the text of a dvc.lock, in its order."""
    return list(split_stages(lock)[1])


def in_order(lock: str, order: Sequence[str]) -> str:
    """The text of a dvc.lock with its stages in this order; those that are not in it come last.

    DVC appends a stage that is new in dvc.lock, so that otherwise their order would tell which ended first.
    """
    head, blocks = split_stages(lock)
    places = {stage: place for place, stage in enumerate(order)}
    names = sorted(blocks, key=lambda name: places.get(name, len(places)))
    return head + "".join(blocks[name] for name in names)
