"""repro: run what `dvc repro` would, independent experiments side by side."""

import argparse
import os
import subprocess
from typing import TYPE_CHECKING

from pipeline.core import runtime
from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.paths import Layout
from pipeline.core.progress import say

if TYPE_CHECKING:
    from omegaconf import DictConfig

EXAMPLE = "repro --jobs 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="only these and what they need")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="how many at a time; by default one for each processor"
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Run the stages; dvc.lock is the one that `dvc repro` would have written.

    Raises:
        UsageError: no jobs are asked for.
        PipelineError: params.yaml has a name that is no plain one, DVC cannot read dvc.yaml, there is no such
            stage, or a stage failed.
    """
    count = runtime.processors() if options.jobs is None else options.jobs
    if count < 1:
        raise UsageError(f"--jobs {count}: expected 1 or more")
    from pipeline.config.compose import read_params  # noqa: PLC0415  (not needed for --help)
    from pipeline.core.files.atomic import read_bytes, write_text  # noqa: PLC0415  (the same)
    from pipeline.core.files.tables import MAXIMUM_TEXT_BYTES
    from pipeline.repro import jobs  # noqa: PLC0415  (the same)

    params = read_params(layout.params)
    dag = subprocess.run(  # noqa: S603  (DVC)
        jobs.dvc("dag", "--dot"), cwd=layout.root, capture_output=True, text=True, check=False
    )
    if dag.returncode:
        raise PipelineError(f"DVC cannot read the stages: {dag.stderr.strip()}")
    graph = jobs.read_graph(dag.stdout)
    order = jobs.serial_order(graph)
    lock = layout.root / "dvc.lock"

    def locked() -> str:
        return read_bytes(lock, maximum_bytes=MAXIMUM_TEXT_BYTES).decode("utf-8") if lock.exists() else ""

    known = jobs.stages_in(locked())
    chosen = jobs.needed_for(graph, options.targets or graph)
    work, searches = _work(layout, params)
    try:
        jobs.run(
            jobs.jobs_of(chosen, searches),
            lambda job: jobs.dvc("--wait-for-lock", "repro", "--single-item", *job.stages),
            count=count,
            weights=work,
            root=layout.root,
            environment=lambda job: _share(count, is_wide=job.is_wide) | os.environ,
            report=say,
        )
    finally:
        before = locked()
        after = jobs.in_order(before, [*known, *(stage for stage in order if stage not in known)])
        if after != before:
            write_text(lock, after)


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
    from pipeline.config.compose import compose, experiment_overrides  # noqa: PLC0415  (not needed for --help)
    from pipeline.nn.setup import network_of, total_epochs, total_steps  # noqa: PLC0415  (the same)
    from pipeline.search import strategies  # noqa: PLC0415  (the same)

    work, searches = {}, set()
    for experiment in params["experiments"]:
        try:
            overrides = experiment_overrides(params, experiment)
            config = compose(layout.conf, overrides)
            parameters = network_of(config).parameter_count
            count = config.split.train_count or config.dataset.source(config.source).train_count
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
