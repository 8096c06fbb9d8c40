"""search-report: show the best trials of a search, and what each axis changes."""

import argparse
import itertools
import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import PipelineError
from pipeline.core.paths import Layout, Results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.config.schema import Config
    from pipeline.config.space import Axis
    from pipeline.search.table import Tried

EXAMPLE = "search-report cifar10_grid"

_BEST = 10
_MOST_VALUES = 12
_PARTS = 5


@dataclass(frozen=True)
class Effect:
    """The valid accuracies of the trials with one value of an axis, or with one part of its range.

    Attributes:
        value: in words.
        trials: how many, those that failed included.
        failed: how many of them failed.
        mean, median, best: of the others, shares from 0 to 1; None where all failed.
    """

    value: str
    trials: int
    failed: int
    mean: float | None
    median: float | None
    best: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Show the ten best trials of a search, and for each axis the valid accuracy of all trials with one of"
        " its values (or in one of five equally filled parts of a range). Trials that halving ended early"
        " count with what they had reached."
    )
    parser.add_argument("experiment", help="a name from params.yaml, or a folder below runs/")
    parser.add_argument("--json", action="store_true", help="write JSON instead of tables")


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print the report.

    Raises:
        ConfigError: params.yaml lists no such experiment.
        PipelineError: it has not been run, or searches nothing.
    """
    from pipeline.commands.shared.terminal import table, write, write_json
    from pipeline.config.compose import experiment_overrides, read_config, read_params
    from pipeline.stages.shared.trained import read_trials

    folder = layout.root / options.experiment
    results = Results(folder) if (folder / "config.yaml").is_file() else layout.results(options.experiment)
    if not results.config.is_file():
        experiment_overrides(read_params(layout.params), options.experiment)
        raise PipelineError(
            f"{results.config} is missing: run the search: dvc repro train@{options.experiment}"
        )
    config = read_config(results.config)
    tried = read_trials(config, results)
    if not config.search.space:
        raise PipelineError(f"{config.name}: nothing was searched (search.name={config.search.name})")
    ranked = ranking(tried)
    found = {name: effects(name, axis, tried) for name, axis in config.search.axes().items()}
    if options.json:
        write_json(_as_json(config, tried, ranked, found))
        return
    failed = sum(bool(each.outcome.error) for each in tried)
    write(f"{config.name} on {config.title}: {config.search.name}, {len(tried)} trials, {failed} failed")
    write()
    for line in table(_best_rows(config, ranked), left=()):
        write(line)
    for name, rows in found.items():
        write()
        write(name)
        cells = [["", "trials", "failed", "mean", "median", "best"]]
        cells += [
            [
                f"  {row.value}",
                str(row.trials),
                str(row.failed),
                *map(_percent, (row.mean, row.median, row.best)),
            ]
            for row in rows
        ]
        for line in table(cells):
            write(line)


def ranking(tried: "Sequence[Tried]") -> "list[Tried]":
    """Sound trials from the best to the worst: those trained to the end first, of equals the earlier one."""
    sound = [each for each in tried if not each.outcome.error]
    return sorted(
        sound,
        key=lambda each: (
            -(each.trial.epochs or math.inf),
            -each.outcome.valid_accuracy,
            each.trial.number,
        ),
    )


def effects(name: str, axis: "Axis", tried: "Sequence[Tried]") -> list[Effect]:
    """What each value of an axis, or each part of its range, makes of the trials."""
    values = axis if isinstance(axis, list) else sorted({each.trial.values[name] for each in tried})
    if isinstance(axis, list) or len(values) <= _MOST_VALUES:
        return [
            _effect(_format_value(value), [each for each in tried if each.trial.values[name] == value])
            for value in values
        ]
    ordered = sorted(tried, key=lambda each: each.trial.values[name])
    ends = [round(part * len(ordered) / _PARTS) for part in range(_PARTS + 1)]
    parts = [ordered[start:stop] for start, stop in itertools.pairwise(ends)]
    return [
        _effect(
            f"{_format_value(part[0].trial.values[name])} to {_format_value(part[-1].trial.values[name])}",
            part,
        )
        for part in parts
    ]


def _effect(text: str, group: "Sequence[Tried]") -> Effect:
    sound = [each.outcome.valid_accuracy for each in group if not each.outcome.error]
    failed = len(group) - len(sound)
    if not sound:
        return Effect(text, len(group), failed, None, None, None)
    return Effect(text, len(group), failed, statistics.fmean(sound), statistics.median(sound), max(sound))


def _best_rows(config: "Config", ranked: "Sequence[Tried]") -> list[list[str]]:
    halving = any(each.trial.epochs is not None for each in ranked)
    rows = [["trial", "valid accuracy", *config.search.axes(), *(["epochs"] if halving else [])]]
    for each in ranked[:_BEST]:
        values = [_format_value(value) for value in each.trial.values.values()]
        epochs = [str(each.trial.epochs or "all")] if halving else []
        rows.append([str(each.trial.number), _percent(each.outcome.valid_accuracy), *values, *epochs])
    return rows


def _as_json(
    config: "Config",
    tried: "Sequence[Tried]",
    ranked: "Sequence[Tried]",
    found: dict[str, list[Effect]],
) -> dict[str, Any]:
    return {
        "experiment": config.name,
        "search": config.search.name,
        "trials": len(tried),
        "failed": sum(bool(each.outcome.error) for each in tried),
        "best": [
            {
                "trial": each.trial.number,
                "valid_accuracy": each.outcome.valid_accuracy,
                "seed": each.seed,
                "epochs": each.trial.epochs,
                "values": dict(each.trial.values),
            }
            for each in ranked[:_BEST]
        ],
        "axes": {name: [asdict(row) for row in rows] for name, rows in found.items()},
    }


def _format_value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(share: float | None) -> str:
    from pipeline.commands.shared.terminal import percent

    return "-" if share is None else percent(share)
