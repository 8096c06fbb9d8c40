"""The table that sets every experiment's results beside what was published about it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

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


def measured(metrics: Mapping[str, Any], step_losses: Sequence[float]) -> dict[str, float]:
    """The figures of one run by measure, from its metrics.json and the losses of its steps."""
    found = {
        f"{part}_accuracy": float(metrics[part]["accuracy"])
        for part in ("train", "valid", "test")
        if part in metrics
    }
    return {**found, "first_step_loss": step_losses[0], "last_step_loss": step_losses[-1]}


def rows(config: Config, runs: Sequence[Mapping[str, float]]) -> Iterator[Row]:
    """What the table says of one experiment.

    Every published figure gets a row, and test accuracy always does. A published figure was measured on the
    official data, so beside a run on anything else it is left out.

    Args:
        config: of the experiment.
        runs: from `measured`, one for every seed.
    """
    published = config.published or Published(text="")
    given = {name: getattr(published, name) for name in MEASURES}
    for measure in MEASURES:
        if (given[measure] is None and measure != "test_accuracy") or measure not in runs[0]:
            continue
        values = [run[measure] for run in runs]
        # Unlike sum(), the same bits in every version of Python.
        mean = math.fsum(values) / len(values)
        known = given[measure] if config.source == "official" else None
        yield Row(
            experiment=config.name,
            source=config.source,
            dataset=config.title,
            runtime=config.runtime.name,
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


def as_json(table: Sequence[Row], texts: Mapping[str, str]) -> dict[str, Any]:
    """The table as plain data: rows, and experiment -> what was published about it in words."""
    return {"published": dict(texts), "rows": [asdict(row) for row in table]}


def as_markdown(table: Sequence[Row], texts: Mapping[str, str]) -> str:
    """The table for people to read, and what was published about each experiment in words."""
    header = ("experiment", "data", "measure", "published", "ours", "difference")
    cells = [
        (
            row.experiment,
            _data(row),
            MEASURES[row.measure],
            _published(row),
            _ours(row),
            _difference(row),
        )
        for row in table
    ]
    widths = [max(len(line[column]) for line in (header, *cells)) for column in range(len(header))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
        for line in (header, *cells)
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    words = [f"- {experiment}: {text}" for experiment, text in texts.items() if text]
    notes = ["", "Published, in words:", "", *words] if words else []
    return "\n".join([lines[0], rule, *lines[1:], *notes]) + "\n"


def _shown(measure: str, value: float) -> str:
    return f"{value:.4f}" if measure.endswith("loss") else f"{100 * value:.2f} %"


def _data(row: Row) -> str:
    """What it ran on; with the tier where that is not the one whose bits everybody gets."""
    return row.dataset if row.runtime == "portable" else f"{row.dataset}, runtime {row.runtime}"


def _published(row: Row) -> str:
    if row.published is not None:
        return _shown(row.measure, row.published)
    return "-" if row.source == "official" else _NOT_COMPARABLE


def _ours(row: Row) -> str:
    text = _shown(row.measure, row.ours)
    if row.deviation is None:
        return text
    spread = f"{row.deviation:.4f}" if row.measure.endswith("loss") else f"{100 * row.deviation:.2f}"
    return f"{text} ± {spread} ({row.seeds} seeds)"


def _difference(row: Row) -> str:
    if row.difference is None:
        return "-"
    if row.measure.endswith("loss"):
        return f"{row.difference:+.1e}"
    return f"{100 * row.difference:+.2f} points"
