"""diff: what two revisions made of the same experiments, and whether that can be chance."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.paths import Layout

if TYPE_CHECKING:
    from pipeline.report.changes import Changes

EXAMPLE = "diff HEAD~1 --experiment mnist_two_layer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Compare two revisions of the experiments by the outputs that DVC has stored for them: per experiment"
        " the values of the configuration that changed, and each metric with the difference, its 95 %"
        " interval and p value on the same test images. Nothing is checked out, and nothing trained but with"
        " --seeds. Two pickles, of whatever origin, are compared by `pipeline compare`."
    )
    parser.add_argument(
        "first",
        metavar="A",
        nargs="?",
        default="HEAD",
        help="commit, branch, tag or DVC experiment to compare with (default: HEAD)",
    )
    parser.add_argument(
        "second",
        metavar="B",
        nargs="?",
        default="workspace",
        help="the one that is judged, likewise (default: workspace, what is on the disk now)",
    )
    parser.add_argument(
        "--experiment",
        action="append",
        default=[],
        metavar="NAME",
        help="only this experiment; repeatable",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train both configurations with N seeds (0 to N-1), by the present code and apart from DVC, and"
        " compare the means; experiments whose configuration is the same are left out",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    form.add_argument("--markdown", action="store_true", help="print Markdown, for a pull request")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw the differences and intervals into FILE.png"
    )
    parser.add_argument(
        "--fail-if-worse",
        action="store_true",
        help="exit code 1 if the test accuracy of an experiment is worse",
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print the differences, and draw them if asked to.

    Raises:
        UsageError: a revision or an experiment is unknown.
        PipelineError: there is no git repository, or --fail-if-worse and something is.
    """
    from pipeline.commands.shared.changes import markdown_lines, terminal_lines
    from pipeline.commands.shared.terminal import check_picture, write, write_json
    from pipeline.report.changes import WORSE

    check_picture(options.picture)
    changes = _compare(layout, options)
    if options.picture is not None:
        _draw(options.picture, changes)
    if options.json:
        write_json(changes.as_json())
    else:
        for line in (markdown_lines if options.markdown else terminal_lines)(changes):
            write(line)
    worse = [each.name for each in changes.experiments if each.verdict == WORSE]
    if options.fail_if_worse and worse:
        raise PipelineError(f"worse than {changes.first.name}: {', '.join(worse)}")


def _compare(layout: Layout, options: argparse.Namespace) -> "Changes":
    if options.seeds is not None:
        if options.seeds < 2:
            raise UsageError(f"--seeds {options.seeds}: two or more make a mean with an interval")
        from pipeline.commands.shared.seeds import train_and_compare

        return train_and_compare(
            layout, options.first, options.second, options.experiment, range(options.seeds)
        )
    from pipeline.repro.revisions import compare_revisions

    return compare_revisions(layout.root, options.first, options.second, options.experiment)


def _draw(path: Path, changes: "Changes") -> None:
    from pipeline.core.files.atomic import write_bytes
    from pipeline.report.plots import style
    from pipeline.report.plots.differences import differences

    write_bytes(path, style.to_png(differences(changes)))
