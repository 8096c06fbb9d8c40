"""Two revisions' configurations trained anew with the same seeds, apart from DVC; their means compared."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.config.compose import read_config
from pipeline.config.schema import Config
from pipeline.core import runtime
from pipeline.core.errors import PipelineError
from pipeline.core.files.arrays import read_arrays
from pipeline.core.paths import Layout, Results
from pipeline.core.progress import say
from pipeline.report.changes import Changes, ExperimentChange, judge
from pipeline.report.versions import Outputs, Version, compare_seeds
from pipeline.repro.revisions import Revision, choose_experiments, find_notes, open_revisions
from pipeline.stages import evaluate, split, train
from pipeline.stages.shared.context import ExperimentContext


def train_and_compare(
    layout: Layout, first: str, second: str, experiments: Sequence[str], seeds: Sequence[int]
) -> Changes:
    """Train the experiments whose configurations differ, by the code of this checkout, and compare the means.

    Args:
        layout: of the checkout, whose parsed data are trained on.
        first: a revision, as of `pipeline.repro.revisions.open_revisions`: what is compared with.
        second: likewise, what is judged.
        experiments: names; none for all.
        seeds: two or more.

    Raises:
        UsageError: a revision or an experiment is unknown.
        PipelineError: there is no git repository, a data set is not parsed, or a training fails.
    """
    with open_revisions(layout.root, first, second) as (before, after, repo):
        found = [
            _compare(layout, name, before, after, seeds)
            for name in choose_experiments(before, after, experiments)
        ]
        names = [each.name for each in found]
        notes = find_notes(repo, (before, after), names)
        return Changes(before.side, after.side, judge(found), tuple(notes), tuple(seeds))


def _compare(
    layout: Layout, name: str, before: Revision, after: Revision, seeds: Sequence[int]
) -> ExperimentChange:
    for side, other in ((before, after), (after, before)):
        if name not in side.experiments:
            return ExperimentChange(name, reason=f"only {other.side.name} has it")
    try:
        configs = [
            replace(read_config(side.configuration_file(name)), seed=seeds[0]) for side in (before, after)
        ]
    except PipelineError as error:
        return ExperimentChange(name, reason=str(error))
    if configs[0] == configs[1]:
        return ExperimentChange(
            name, reason="the same configuration (but for the seed), so the same networks"
        )
    for config in configs:
        if config.runtime.name != runtime.active():
            raise PipelineError(
                f"{name}: runtime={config.runtime.name}, and this process runs {runtime.active()}: set"
                f" {runtime.VARIABLE}={config.runtime.name}"
            )
    pairs = []
    for number, seed in enumerate(seeds, start=1):
        say(f"{name}: seed {seed}, {number} of {len(seeds)}")
        pairs.append([_train(layout, replace(config, seed=seed)) for config in configs])
    return compare_seeds(name, [pair[0] for pair in pairs], [pair[1] for pair in pairs])


def _train(layout: Layout, config: Config) -> Version:
    """Split, train and evaluate a configuration in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="pipeline-diff-") as folder:
        context = ExperimentContext(layout, config, Results(Path(folder)))
        if not context.parsed.is_dir():
            raise PipelineError(
                f"{context.parsed} is missing, and training needs it: dvc pull, or dvc repro"
                f" parse@{config.dataset.name}"
            )
        for stage in (split, train, evaluate):
            stage.run(context)
        arrays = read_arrays(context.results.probabilities)
    return Version(asdict(config), Outputs(arrays["probabilities"], arrays["labels"], arrays["images"]))
