"""repro: run what `dvc repro` would, one experiment after the other or several side by side."""

import argparse
import math
import os
import subprocess
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from pipeline.core import runtime
from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.paths import Layout
from pipeline.core.progress import say

if TYPE_CHECKING:
    from omegaconf import DictConfig

EXAMPLE = "repro --jobs 2 mnist_two_layer cifar10_two_layer"

# What `make run` took on two processors (docs/performance-stages.md), to tell how long it may last.
_SECONDS_PER_STAGE = 1.5
_WORK_PER_SECOND = 1e11

_GUESSED_IMAGES = 60_000  # of a training set whose definition leaves their number open


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "targets", nargs="*", metavar="NAME", help="only these experiments or stages, and what they need"
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="how many at a time; by default one for each processor"
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Run the stages; dvc.lock is the one that `dvc repro` would have written.

    Raises:
        UsageError: no jobs are asked for.
        PipelineError: params.yaml has a name that is no plain one, a merge left conflict markers, DVC cannot
            read dvc.yaml, there is no such stage, or a stage failed.
    """
    count = runtime.processors() if options.jobs is None else options.jobs
    if count < 1:
        raise UsageError(f"--jobs {count}: expected 1 or more")
    from pipeline.config.compose import read_params  # not needed for --help
    from pipeline.core import ledger
    from pipeline.core.conflicts import refuse_conflicts_in
    from pipeline.repro import jobs
    from pipeline.repro.lock import lock_text, sort_lock

    params = read_params(layout.params)
    refuse_conflicts_in(layout.root / "dvc.yaml", layout.root / "dvc.lock")
    dag = subprocess.run(  # noqa: S603  (DVC)
        jobs.dvc("dag", "--dot"), cwd=layout.root, capture_output=True, text=True, check=False
    )
    if dag.returncode:
        raise PipelineError(f"DVC cannot read the stages: {dag.stderr.strip()}")
    graph = jobs.read_graph(dag.stdout)
    order = jobs.serial_order(graph)
    known = jobs.stages_in(lock_text(layout.root))
    targets = [stage for name in options.targets for stage in jobs.stages_of(graph, name)]
    chosen = jobs.needed_for(graph, targets or graph)
    work, searches = _work(layout, params)
    say(_plan(chosen, work))
    # One at a time: DVC alone would train every experiment before it evaluates the first.
    one_by_one = [jobs.Job(tuple(jobs.order_by_end(chosen)), frozenset())]
    try:
        jobs.run(
            one_by_one if count == 1 else jobs.jobs_of(chosen, searches),
            lambda job: jobs.dvc("--wait-for-lock", "repro", "--single-item", *job.stages),
            count=count,
            weights=work,
            root=layout.root,
            # Unbuffered, so that DVC's lines stand before those of the stages.
            environment=lambda job: (
                _share(count, is_wide=job.is_wide) | os.environ | {"PYTHONUNBUFFERED": "1"}
            ),
            report=say,
        )
    finally:
        sort_lock(layout.root, [*known, *(stage for stage in order if stage not in known)])
    ledger.check(layout.root)


def _plan(stages: Collection[str], work: Mapping[str, float]) -> str:
    """What is about to run, and about how long it takes from nothing."""
    experiments = [stage.partition("@")[2] for stage in stages if stage.startswith("train@")]
    seconds = _SECONDS_PER_STAGE * len(stages)
    seconds += sum(work.get(stage, 0.0) for stage in stages) / _WORK_PER_SECOND
    # Up to the next ten seconds; past a minute and a half whole minutes are exact enough.
    is_long = seconds > 90
    length = f"{seconds / 60:.0f} minutes" if is_long else f"{10 * math.ceil(seconds / 10)} seconds"
    return (
        f"{len(stages)} stages for {', '.join(experiments) or 'no experiment'}: from nothing about {length}"
        " on two processors. What is up to date is skipped; each result is printed when it is there."
    )


def _share(count: int, *, is_wide: bool) -> dict[str, str]:
    """What lets one of several jobs use one processor, and a wide one, which runs alone, as many as all."""
    if count == 1:
        return {}
    return {"PIPELINE_WORKERS": str(count)} if is_wide else {"PIPELINE_THREADS": "1"}


def _work(layout: Layout, params: "DictConfig") -> tuple[dict[str, float], set[str]]:
    """How much each train stage has to compute, roughly and in no unit; and those that search.

    A step costs what its products do: 6 operations per parameter and image forward and backward; by
    differences a loss at either side of each parameter, of which the vectorised ones save all but a 60th.
    """
    from pipeline.config.compose import compose, experiment_overrides  # not needed for --help
    from pipeline.nn.setup import network_of, total_epochs, total_steps
    from pipeline.search import strategies

    work, searches = {}, set()
    for experiment in params["experiments"]:
        try:
            overrides = experiment_overrides(params, experiment)
            config = compose(layout.conf, overrides)
            parameters = network_of(config).parameter_count
            count = config.split.train_count or config.dataset.source(config.source).train_count
            count = count or _GUESSED_IMAGES
            steps = total_steps(config, count)
        except PipelineError:
            # Its compose stage will say what is wrong.
            continue
        trials = strategies.planned(config.search, total_epochs(config, count))
        is_numerical = config.training.gradient == "numerical"
        image = parameters**2 / 15 if is_numerical else 6 * parameters
        work[f"train@{experiment}"] = float(trials * steps * config.training.batch_size * image)
        if strategies.is_search(config.search):
            searches.add(f"train@{experiment}")
    return work, searches
