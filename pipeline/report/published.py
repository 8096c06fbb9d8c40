"""The table that sets every experiment's results beside what was published about it, and its rows' source."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from pipeline.config.checks import require
from pipeline.config.schema import Config, Published

MEASURES: Final[Mapping[str, str]] = {
    "train_accuracy": "train accuracy",
    "valid_accuracy": "valid accuracy",
    "test_accuracy": "test accuracy",
    "first_step_loss": "loss of the first step",
    "last_step_loss": "loss of the last step",
}
"""Name of a published figure -> how the table calls it."""

_NOT_COMPARABLE: Final = "other data"


@dataclass(frozen=True)
class Row:
    """One figure of one experiment.

    Attributes:
        experiment: its name.
        source: ``bundled`` or ``official``.
        dataset: what it ran on, in words.
        runtime: the tier it ran on.
        measure: a key of `MEASURES`.
        ours: the figure; accuracies from 0 to 1. With several seeds, their mean.
        published: the published figure; None where there is none or the run was on other data.
        difference: ours - published.
        deviation: standard deviation over the seeds (with n - 1); None for a single one.
        seeds: over how many.
    """

    experiment: str
    source: str
    dataset: str
    runtime: str
    measure: str
    ours: float
    published: float | None
    difference: float | None
    deviation: float | None = None
    seeds: int = 1


@dataclass(frozen=True)
class Summary:
    """What the table needs to know of one run of an experiment; it is handed on as JSON.

    Attributes:
        experiment: its name.
        source: ``bundled`` or ``official``.
        dataset: what it ran on, in words.
        runtime: the tier it ran on.
        published: what was published about it; its text is empty where that is nothing.
        figures: by measure, a key of `MEASURES`; accuracies from 0 to 1.
    """

    experiment: str
    source: str
    dataset: str
    runtime: str
    published: Published
    figures: dict[str, float]

    def __post_init__(self) -> None:
        for measure, value in self.figures.items():
            require(measure in MEASURES, "figures", measure, f"one of {', '.join(MEASURES)}")
            highest = 1.0 if measure.endswith("accuracy") else math.inf
            in_range = 0 <= value <= highest and math.isfinite(value)
            require(in_range, f"figures.{measure}", value, "an accuracy from 0 to 1, or a finite loss")
        needed = ("test_accuracy", "first_step_loss", "last_step_loss")
        missing = [measure for measure in needed if measure not in self.figures]
        require(not missing, "figures", ", ".join(self.figures), f"{', '.join(missing)} among them")


def summarize(
    config: Config, parts: Mapping[str, Mapping[str, float]], step_losses: Sequence[float]
) -> Summary:
    """What the table needs to know of a run.

    Args:
        config: of the experiment.
        parts: the measurements of the train, valid and test part by name, of those that have images.
        step_losses: one for each step of the training.
    """
    accuracies = {f"{part}_accuracy": parts[part]["accuracy"] for part in parts}
    return Summary(
        experiment=config.name,
        source=config.source,
        dataset=config.title,
        runtime=config.runtime.name,
        published=config.published,
        figures={**accuracies, "first_step_loss": step_losses[0], "last_step_loss": step_losses[-1]},
    )


def rows(summary: Summary, runs: Sequence[Mapping[str, float]] = ()) -> Iterator[Row]:
    """What the table says of one experiment.

    Every published figure gets a row, and test accuracy always does. A published figure was measured on the
    official data, so beside a run on anything else it is left out.

    Args:
        summary: of the experiment.
        runs: the figures of further runs, one for every other seed.
    """
    given = {name: getattr(summary.published, name) for name in MEASURES}
    runs = [summary.figures, *runs]
    for measure in MEASURES:
        if (given[measure] is None and measure != "test_accuracy") or measure not in runs[0]:
            continue
        values = [run[measure] for run in runs]
        # Unlike sum(), the same bits in every version of Python.
        mean = math.fsum(values) / len(values)
        known = given[measure] if summary.source == "official" else None
        yield Row(
            experiment=summary.experiment,
            source=summary.source,
            dataset=summary.dataset,
            runtime=summary.runtime,
            measure=measure,
            ours=mean,
            published=known,
            difference=None if known is None else mean - known,
            deviation=_deviation(values, mean),
            seeds=len(values),
        )


def _deviation(values: Sequence[float], mean: float) -> float | None:
    if len(values) == 1:
        return None
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def as_json(table: Sequence[Row], summaries: Sequence[Summary]) -> dict[str, Any]:
    """The table as plain data: rows, and experiment -> what was published about it in words."""
    texts = {summary.experiment: summary.published.text for summary in summaries}
    return {"published": texts, "rows": [asdict(row) for row in table]}


def as_markdown(table: Sequence[Row], summaries: Sequence[Summary]) -> str:
    """The table for people to read, and what was published about each experiment in words."""
    header = ("experiment", "data", "measure", "published", "ours", "difference")
    cells = [
        (
            row.experiment,
            _describe_data(row),
            MEASURES[row.measure],
            _format_published(row),
            _format_ours(row),
            _format_difference(row),
        )
        for row in table
    ]
    widths = [max(len(line[column]) for line in (header, *cells)) for column in range(len(header))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
        for line in (header, *cells)
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    words = [f"- {each.experiment}: {each.published.text}" for each in summaries if each.published.text]
    notes = ["", "Published, in words:", "", *words] if words else []
    return "\n".join([lines[0], rule, *lines[1:], *notes]) + "\n"


def _format_figure(measure: str, value: float) -> str:
    return f"{value:.4f}" if measure.endswith("loss") else f"{100 * value:.2f} %"


def _describe_data(row: Row) -> str:
    """What it ran on; with the tier where that is not the one whose bits everybody gets."""
    return row.dataset if row.runtime == "portable" else f"{row.dataset}, runtime {row.runtime}"


def _format_published(row: Row) -> str:
    if row.published is not None:
        return _format_figure(row.measure, row.published)
    return "-" if row.source == "official" else _NOT_COMPARABLE


def _format_ours(row: Row) -> str:
    text = _format_figure(row.measure, row.ours)
    if row.deviation is None:
        return text
    spread = f"{row.deviation:.4f}" if row.measure.endswith("loss") else f"{100 * row.deviation:.2f}"
    return f"{text} ± {spread} ({row.seeds} seeds)"


def _format_difference(row: Row) -> str:
    if row.difference is None:
        return "-"
    if row.measure.endswith("loss"):
        return f"{row.difference:+.1e}"
    return f"{100 * row.difference:+.2f} points"
