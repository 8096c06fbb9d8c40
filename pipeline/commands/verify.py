"""verify: run the last commit from nothing in a clone, and compare every output bit by bit."""

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.paths import Layout
from pipeline.core.registry import check_name, did_you_mean

if TYPE_CHECKING:
    from pipeline.repro.clone import Clone
    from pipeline.repro.lock import Lock
    from pipeline.repro.outcome import Report

EXAMPLE = "verify --experiment mnist_two_layer"

BY_EIGENVECTORS: Final = frozenset({"pca", "zca"})
"""Preprocessors whose statistics come from the BLAS and LAPACK."""

_MOST_EXPLAINED = 8
_SHOWN_COMMIT = 10  # characters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Clone the last commit into a temporary folder, run dvc repro there without any cache, and compare"
        " every hash in dvc.lock, and every output in git byte by byte. Exit code 1 if something differs that"
        " should not. With `source: official` in the committed params.yaml it downloads everything again;"
        " PIPELINE_MIRROR names a folder or server of your own."
    )
    parser.add_argument(
        "--stage",
        action="append",
        default=[],
        metavar="NAME",
        help="only this stage and what it needs, such as train@mnist_two_layer, or train for all; repeatable",
    )
    parser.add_argument(
        "--experiment",
        action="append",
        default=[],
        metavar="NAME",
        help="only the stages of this experiment and what they need; repeatable",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="every configuration, but of the experiments only the first in params.yaml: under a minute",
    )
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder, and say where it is")


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print one line per output, and whether all are identical.

    Raises:
        UsageError: a name is unknown, or the options contradict each other.
        PipelineError: an output differs, dvc.lock is out of date, or the run fails.
    """
    from pipeline.core import ledger
    from pipeline.core.conflicts import refuse_conflicts_in
    from pipeline.core.progress import progress, say
    from pipeline.repro import clone as rerun
    from pipeline.repro.lock import followers, lock_text, needed, read_lock
    from pipeline.repro.outcome import compare

    if options.quick and (options.stage or options.experiment):
        raise UsageError("--quick chooses by itself: leave out --stage and --experiment")
    ledger.check(layout.root)
    started = time.monotonic()
    with rerun.fresh_clone(layout.root, keep=options.keep) as clone:
        say(f"verifying commit {clone.commit[:_SHOWN_COMMIT]} in {clone.root}")
        changed = rerun.git(layout.root, "status", "--porcelain").splitlines()
        if changed:
            say(
                f"uncommitted changes are not part of it: {_format_count(len(changed), 'file')},"
                " see git status"
            )
        clone.doubts("portable")
        if not (clone.root / "dvc.lock").exists():
            raise PipelineError("there is no dvc.lock in the last commit: run dvc repro and commit it")
        committed = read_lock(lock_text(clone.root), "the committed dvc.lock")
        refuse_conflicts_in(clone.root / "dvc.yaml")
        stages = clone.stages()
        targets = _targets(clone, stages, options)
        chosen = needed(committed, targets or stages)
        made = [output for recorded in committed.values() for output in recorded.outputs]
        # Each stage has its line where there is no bar: one of them takes most of the time.
        with progress(len(chosen), "verify", "stages", seconds_between_lines=0) as bar:
            ran = rerun.reproduce(clone, made, targets, lambda stage: bar.advance(at=stage))
        fresh = read_lock(lock_text(clone.root), "the dvc.lock of the run")
        reasons = _reasons(clone, ran)
        report = compare(
            committed,
            fresh,
            edited=_find_edited(clone, fresh),
            may_differ=followers(fresh, reasons),
            chosen={*ran, *targets} if targets else None,
            existing=stages,
        )
        _print(report, reasons, time.monotonic() - started)
        failure = _failure(layout, clone, report)
        if options.keep:
            say(f"kept: {clone.folder}")
    if failure:
        raise PipelineError(failure)


def _format_count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _targets(clone: "Clone", stages: Sequence[str], options: argparse.Namespace) -> list[str]:
    """The stages to ask DVC for; none for all.

    Raises:
        UsageError: there is no such stage or experiment.
    """
    from pipeline.config.compose import read_params

    experiments = [str(name) for name in read_params(clone.root / "params.yaml").experiments]
    names = list(options.stage)
    for experiment in experiments[:1] if options.quick else options.experiment:
        check_name(experiments, "--experiment", experiment)
        names += [stage for stage in stages if stage.endswith(f"@{experiment}")]
    if options.quick:
        names.append("compose")
    found: dict[str, None] = {}
    for name in names:
        of_name = [stage for stage in stages if name in {stage, stage.partition("@")[0]}]
        if not of_name:
            raise UsageError(
                f"--stage {name}: unknown; `dvc stage list` shows them" + did_you_mean(name, stages)
            )
        found |= dict.fromkeys(of_name)
    return list(found)


def _reasons(clone: "Clone", ran: Sequence[str]) -> dict[str, list[str]]:
    """Stage that hangs on the numeric environment -> why it may give other results here, where it may.

    Training does, and a split that learns principal components. Else a split draws and adds up integers, and
    only divides and takes roots, which every processor rounds alike; all before it only moves bytes.
    """
    from pipeline.config.compose import read_config

    layout = Layout(clone.root)
    names = dict.fromkeys(stage.partition("@")[2] for stage in ran if stage.startswith(("split@", "train@")))
    tiers: dict[str, str] = {}
    for name in names:
        config = read_config(layout.results(name).config)
        kinds = ("split", "train") if config.preprocess.name in BY_EIGENVECTORS else ("train",)
        tiers |= {stage: config.runtime.name for kind in kinds if (stage := f"{kind}@{name}") in ran}
    doubts = {tier: clone.doubts(tier) for tier in dict.fromkeys(tiers.values())}
    return {stage: doubts[tier] for stage, tier in tiers.items() if doubts[tier]}


def _find_edited(clone: "Clone", fresh: "Lock") -> list[str]:
    """Outputs in git that the run made with other bytes."""
    from pipeline.repro.clone import git

    tracked = git(clone.root, "ls-tree", "-r", "-z", "--name-only", "HEAD").decode("utf-8").split("\0")
    made = {output for recorded in fresh.values() for output in recorded.outputs}
    return [
        path
        for path in tracked
        if path in made and (clone.root / path).read_bytes() != git(clone.root, "show", f"HEAD:./{path}")
    ]


def _print(report: "Report", reasons: Mapping[str, Sequence[str]], seconds: float) -> None:
    from pipeline.commands.shared.terminal import table, write

    rows = [["stage", "output", ""], *([row.stage, row.output, str(row.state)] for row in report.rows)]
    for line in table(rows, left=(0, 1, 2)):
        write(line)
    write()
    by_reason: dict[str, list[str]] = {}
    for stage, doubts in reasons.items():
        by_reason.setdefault("; ".join(doubts), []).append(stage)
    for reason, stages in by_reason.items():
        write(f"What {', '.join(stages)} and those that follow give may differ here: {reason}")
    for stage in report.forgotten:
        write(f"dvc.lock has {stage}, which dvc.yaml no longer defines: it was not looked at")
    free = f", {len(report.free)} differ as they may" if report.free else ""
    write(f"{report.identical} of {len(report.rows)} outputs identical{free} ({seconds:.0f} s)")


def _failure(layout: Layout, clone: "Clone", report: "Report") -> str:
    """What is wrong, in a few lines; nothing where nothing is."""
    from pipeline.repro.committed import Committed, explain

    lines = []
    if report.wrong:
        first = report.wrong[0].stage
        lines.append(f"{first} is the first stage with another result than the committed one:")
        rows = [row for row in report.wrong if row.stage == first]
        committed = Committed(layout, clone)
        lines += [f"  {row.output}: {explain(committed, row)}" for row in rows[:_MOST_EXPLAINED]]
    if report.outdated:
        changed = dict.fromkeys(change for changes in report.outdated.values() for change in changes)
        shown = ", ".join(list(changed)[:_MOST_EXPLAINED])
        more = f" and {len(changed) - _MOST_EXPLAINED} more" if len(changed) > _MOST_EXPLAINED else ""
        lines.append(
            f"dvc.lock is not of this commit's code: {_format_count(len(report.outdated), 'stage')} saw other"
            f" contents of {shown}{more}.\nRun dvc repro and commit dvc.lock."
        )
    return "\n".join(lines)
