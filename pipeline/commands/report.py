"""report: write one page of all experiments that opens in a browser, without network."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import FormatError, PipelineError, UsageError
from pipeline.core.paths import Layout, shown_path

if TYPE_CHECKING:
    from dvc.repo import Repo

    from pipeline.report.changes import ExperimentChange
    from pipeline.repro.revisions import Revision

EXAMPLE = "report HEAD~1 workspace"

_MOST_REVISIONS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Write outputs/report.html: every experiment beside what was published about it, its curves,"
        " confusion matrix, mistakes, calibration, weights and search; and paper to draw a digit on, which"
        " the networks answer in the browser. With a revision, write the page of its experiments into"
        " runs/report.html; with two, the page of the second, with the differences between them first."
    )
    parser.add_argument(
        "revisions",
        metavar="REV",
        nargs="*",
        help="commit, branch, tag or DVC experiment, or workspace: what is on the disk now",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE.html", help="where to write the page of revisions instead"
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Write the page, and say where it is.

    Raises:
        UsageError: a revision is unknown, or there are more than two.
        PipelineError: an experiment has not been run yet, or a revision's outputs are not to be had.
    """
    from pipeline.commands.shared.terminal import write  # not needed for --help
    from pipeline.core.files.atomic import write_text
    from pipeline.stages.shared.runner import Options, run_stage

    if not options.revisions:
        if options.output is not None:
            raise UsageError("--output goes with a revision: without one DVC knows outputs/report.html alone")
        run_stage(layout, "report", Options())
        write(f"open {shown_path(layout.report)} in a browser")
        return
    if len(options.revisions) > _MOST_REVISIONS:
        raise UsageError(f"{len(options.revisions)} revisions: expected one, or two to compare")
    path = options.output or layout.root / "runs" / "report.html"
    write_text(path, _make_page(layout, options.revisions))
    write(f"open {shown_path(path)} in a browser")


def _make_page(layout: Layout, revisions: list[str]) -> str:
    from pipeline.repro.revisions import WORKSPACE, open_revisions
    from pipeline.stages.report import make_page

    first, second = revisions[0], revisions[-1]
    with open_revisions(layout.root, first, second) as (before, shown, repo):
        changes = _describe_changes(before, shown, repo) if len(revisions) > 1 else None
        try:
            files = shown.page_files()
        except PipelineError as error:
            advice = "dvc fetch --all-commits, or dvc repro report in a worktree of it"
            raise PipelineError(str(error) if second == WORKSPACE else f"{error}: {advice}") from None
        try:
            return make_page(files, shown.experiments, changes)
        except FormatError as error:
            found = str(error).removeprefix(f"{files.root}/").partition("; ")[0]
            raise FormatError(f"{second}: {found}; it is of another version of the pipeline") from None


def _describe_changes(before: "Revision", after: "Revision", repo: "Repo") -> dict[str, Any]:
    """The differences as `diff --json` has them, and of each experiment what only the page shows."""
    from pipeline.repro.revisions import compare_opened

    changes = compare_opened(before, after, repo)
    shown = changes.as_json()
    both = [_show_both(change, before, after) for change in changes.experiments]
    shown["experiments"] = [plain | more for plain, more in zip(shown["experiments"], both, strict=True)]
    return shown


def _show_both(change: "ExperimentChange", before: "Revision", after: "Revision") -> dict[str, Any]:
    """The images gained and lost, the first revision's curves, and what of both is not to be had."""
    from pipeline.report.page.moved import describe_history, describe_moved

    remarks, moved, history = [*change.remarks], {}, None
    if change.gained or change.lost:
        first, second = (side.version(change.name) for side in (before, after))
        try:
            images = after.test_images(second)
        except PipelineError as error:
            images = None
            remarks.append(f"images are shown without their pictures: {error}")
        for kind in ("gained", "lost"):
            found = describe_moved(first.outputs, second.outputs, getattr(change, kind), images)
            moved[kind] = [asdict(each) for each in found]
    if all(change.name in side.experiments for side in (before, after)):
        try:
            history = describe_history(before.history(change.name), after.history(change.name))
        except PipelineError as error:
            remarks.append(f"curves are those of {after.side.name} alone: {error}")
    return {"remarks": remarks, "moved": moved, "history": history}
