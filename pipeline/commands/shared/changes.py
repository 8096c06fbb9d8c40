"""The differences between two revisions as text: for a terminal of 80 columns, and in Markdown."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeline.commands.shared.terminal import percent, table
from pipeline.core.descriptions import shorten
from pipeline.report.changes import (
    ACCURACY,
    BETTER,
    CALIBRATION,
    IDENTICAL,
    NO_DIFFERENCE,
    NOT_COMPARED,
    WORSE,
    Changes,
    ClassChange,
    ExperimentChange,
    MetricChange,
    Side,
)

_WIDTH: Final = 80
_MOST_VALUES: Final = 12
_MOST_CLASSES: Final = 3
_LONGEST_VALUE: Final = 28
_SHOWN_COMMIT: Final = 8
_HEAD: Final = ("", "A", "B", "B - A", "95 % interval", "p", "")


# -------------------------------------------------------------------------------------------- a terminal


def terminal_lines(changes: Changes) -> Iterator[str]:
    """What `pipeline diff` prints: the figures of each experiment that differs, then the others by name."""
    yield f"A = {_describe_side(changes.first)}, B = {_describe_side(changes.second)}"
    for note in changes.notes:
        yield from _wrap(f"! {note}", "  ")
    shown = [each for each in changes.experiments if each.verdict != NOT_COMPARED and not _is_same(each)]
    for experiment in shown:
        yield ""
        yield from _experiment_lines(experiment)
    same = [each.name for each in changes.experiments if _is_same(each)]
    left_out = [each for each in changes.experiments if each.verdict == NOT_COMPARED]
    if same or left_out:
        yield ""
    if same:
        yield from _wrap(f"Identical: {', '.join(same)}", "  ")
    for reason, experiments in _by_reason(left_out).items():
        names = ", ".join(each.name for each in experiments)
        yield from _wrap(f"Not compared: {names}: {reason}", "  ")
        for experiment in experiments:
            yield from _configuration_lines(experiment)
    yield ""
    if changes.family:
        yield from _wrap(method(changes), "")
    yield summary(changes)


def _describe_side(side: Side) -> str:
    commit = side.commit
    if commit is None or commit.startswith(side.name):
        return side.name
    return f"{side.name} ({commit[:_SHOWN_COMMIT]})"


def _is_same(experiment: ExperimentChange) -> bool:
    return experiment.verdict == IDENTICAL and not experiment.configuration and not experiment.remarks


def _by_reason(experiments: Sequence[ExperimentChange]) -> dict[str, list[ExperimentChange]]:
    """Those that have one reason in common, but for their own folder in it."""
    found: dict[str, list[ExperimentChange]] = {}
    for experiment in experiments:
        reason = experiment.reason.replace(f"/{experiment.name}/", "/NAME/")
        found.setdefault(reason, []).append(experiment)
    return {reason if len(those) > 1 else those[0].reason: those for reason, those in found.items()}


def _experiment_lines(experiment: ExperimentChange) -> Iterator[str]:
    where = f"{experiment.images:,} test images of {experiment.title}"
    yield from _wrap(f"{experiment.name}: {experiment.verdict.upper()} on {where}", "  ")
    yield from _configuration_lines(experiment)
    for remark in experiment.remarks:
        yield from _wrap(f"  {remark}", "    ")
    if experiment.verdict == IDENTICAL:
        return
    rows = [_HEAD, *(cells(metric) for metric in experiment.metrics)]
    lines = table(rows)
    indent = "  " if max(map(len, lines)) <= _WIDTH - 2 else ""
    yield from (indent + line for line in lines)
    if moved := describe_images(experiment):
        yield from _wrap(f"  {moved}", "    ")


def _configuration_lines(experiment: ExperimentChange) -> Iterator[str]:
    for change in experiment.configuration[:_MOST_VALUES]:
        values = " → ".join(_describe_value(value) for value in (change.first, change.second))
        yield from _wrap(f"  {change.key}: {values}", "    ")
    if (more := len(experiment.configuration) - _MOST_VALUES) > 0:
        yield f"  and {more} more values; --json has all"


def _describe_value(value: Any) -> str:  # noqa: ANN401  (plain YAML data)
    return "(none)" if value is None else shorten(str(value), _LONGEST_VALUE)


def cells(metric: MetricChange) -> tuple[str, ...]:
    """A metric as cells: name, values, difference, interval, adjusted p value, verdict if it is one."""
    is_accuracy = metric.name == ACCURACY
    values = (metric.first, metric.second)
    # No more digits than 80 columns have room for.
    scale, digits = (100, 2) if is_accuracy else (1, 4 if max(values) < 10 else 2)
    name = "calibration" if metric.name == CALIBRATION else "accuracy" if is_accuracy else "loss"
    interval = ""
    if metric.low is not None and metric.high is not None:
        interval = " to ".join(f"{scale * end:+.{digits}f}" for end in (metric.low, metric.high))
    return (
        name if metric.part == "test" else f"{metric.part} {name}",
        *(
            percent(value) if is_accuracy else f"{value:.{digits}f}"
            for value in (metric.first, metric.second)
        ),
        f"{scale * metric.difference:+.{digits}f}",
        interval,
        _describe_p_value(metric.adjusted_p_value),
        metric.verdict if metric.verdict in {BETTER, WORSE} else "",
    )


def _describe_p_value(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def describe_images(experiment: ExperimentChange) -> str:
    """How many images were gained and lost, and in which classes most; empty where that is not known."""
    if not experiment.gained and not experiment.lost:
        return ""
    text = f"{len(experiment.gained):,} images gained, {len(experiment.lost):,} lost"

    def weight(change: ClassChange) -> tuple[int, int]:
        return -abs(change.gained - change.lost), -(change.gained + change.lost)

    changed = sorted((each for each in experiment.classes if each.gained or each.lost), key=weight)
    if changed:
        most = (f"{each.name} (+{each.gained} -{each.lost})" for each in changed[:_MOST_CLASSES])
        text += f"; changed most: {', '.join(most)}"
    return text


def method(changes: Changes) -> str:
    """How intervals and p values were found, in a sentence or two."""
    if changes.seeds:
        text = (
            f"Means over {len(changes.seeds)} trainings with the same seeds; interval and p by the paired t"
            " test over the seeds"
        )
    else:
        text = (
            "Interval and p from the same images: accuracy by Newcombe's interval and McNemar's mid-p test,"
            " loss and calibration error by the paired t test"
        )
    family = changes.family
    text += f", p adjusted for {family} experiments (Holm)." if family > 1 else "."
    return text if changes.seeds else f"{text} Another seed may differ more: --seeds."


def summary(changes: Changes) -> str:
    """How many experiments have which verdict, in a line."""
    verdicts = [each.verdict for each in changes.experiments]
    counts = [
        f"{count} {verdict}"
        for verdict in (BETTER, WORSE, NO_DIFFERENCE, IDENTICAL, NOT_COMPARED)
        if (count := verdicts.count(verdict))
    ]
    return ", ".join(counts) or "No experiments on either side."


def _wrap(text: str, indent: str) -> list[str]:
    begin = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(),
        _WIDTH,
        initial_indent=begin,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


# --------------------------------------------------------------------------------------------- Markdown


def markdown_lines(changes: Changes) -> Iterator[str]:
    """The same as a comment on a pull request: a table of all experiments, the rest folded away."""
    sides = [_describe_side(side) for side in (changes.first, changes.second)]
    yield f"### {_plain(sides[0])} → {_plain(sides[1])}: {summary(changes)}"
    yield ""
    for note in changes.notes:
        yield f"> {_plain(note)}"
        yield ""
    if not changes.experiments:
        return
    head = ("experiment", "", "accuracy A", "accuracy B", "B - A", "95 % interval", "p", "gained", "lost")
    yield from _markdown_table(head, [_overview(each) for each in changes.experiments], left=2)
    for experiment in changes.experiments:
        if (
            experiment.configuration
            or experiment.remarks
            or experiment.verdict not in {IDENTICAL, NOT_COMPARED}
        ):
            yield from _markdown_details(experiment)
    if changes.family:
        yield ""
        yield f"<sub>{method(changes)}</sub>"


def _overview(experiment: ExperimentChange) -> list[str]:
    verdict = experiment.verdict
    if verdict == NOT_COMPARED:
        verdict = f"{verdict}: {experiment.reason}"
    elif verdict in {BETTER, WORSE}:
        return [_plain(experiment.name), f"**{verdict}**", *_accuracy(experiment)]
    return [_plain(experiment.name), _plain(verdict), *_accuracy(experiment)]


def _accuracy(experiment: ExperimentChange) -> list[str]:
    row = next((each for each in experiment.metrics if each.name == ACCURACY), None)
    if row is None:
        return [""] * 7
    counts = [f"{len(each):,}" if experiment.classes else "" for each in (experiment.gained, experiment.lost)]
    return [*cells(row)[1:-1], *counts]


def _markdown_details(experiment: ExperimentChange) -> Iterator[str]:
    yield ""
    yield f"<details><summary>{_plain(experiment.name)}</summary>"
    yield ""
    for change in experiment.configuration:
        values = " → ".join(_plain(_describe_value(value)) for value in (change.first, change.second))
        yield f"- {_plain(change.key)}: {values}"
    for remark in experiment.remarks:
        yield f"- {_plain(remark)}"
    if experiment.verdict not in {IDENTICAL, NOT_COMPARED}:
        yield ""
        yield from _markdown_table(_HEAD, [cells(each) for each in experiment.metrics], left=1)
        if moved := describe_images(experiment):
            yield ""
            yield _plain(moved)
    yield ""
    yield "</details>"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "|".join(["---"] * left + ["---:"] * (len(head) - left)) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _plain(text: str) -> str:
    """Text that Markdown and HTML leave as it is, whatever names are in it."""
    return re.sub(r"[^\w\s.,:;+→()%/-]", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))
