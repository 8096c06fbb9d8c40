"""The table of trials: which is the best, its columns and rows, and how it is read again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.schema import Config
from pipeline.config.space import Axis, Range, Search
from pipeline.core.errors import FormatError, PipelineError
from pipeline.search.space import count_trials
from pipeline.search.trials import Outcome, Trial, trial_seed

# --- which is the best


def ranking(outcome: Outcome) -> tuple[float, int]:
    """Better outcomes first; of equal ones the earlier trial."""
    return -outcome.valid_accuracy, outcome.number


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome with the highest valid accuracy; of equal ones the earliest trial.

    Failed ones never win, nor those that were not trained to the end.

    Raises:
        PipelineError: every trial failed.
    """
    sound = [outcome for outcome in outcomes if not outcome.error and outcome.epochs is None]
    if not sound:
        failed = [outcome for outcome in outcomes if outcome.error]
        raise PipelineError(f"all {len(failed)} trials failed; the first: {failed[0].error}")
    return sound[0] if len(sound) == 1 else min(sound, key=ranking)


# --- the table


@dataclass(frozen=True)
class Tried:
    """A trial and what became of it, as the table has it."""

    trial: Trial
    outcome: Outcome
    seed: int


def header(search: Search) -> tuple[str, ...]:
    """The columns of the table of trials."""
    axes = search.axes()
    seed = () if "seed" in axes else ("seed",)
    epochs = ("epochs",) if search.name == "halving" else ()
    return ("trial", *axes, *seed, *epochs, "valid_accuracy", "error")


def row(config: Config, trial: Trial, outcome: Outcome, full_epochs: int) -> tuple[object, ...]:
    """One trial of the table: as many values as `header` has columns."""
    search = config.search
    accuracy = None if math.isnan(outcome.valid_accuracy) else outcome.valid_accuracy
    values = (trial.values[key] for key in search.axes())
    seed: tuple[int, ...] = ()
    if "seed" not in trial.values:
        seed = (trial_seed(search.seed, config.seed, trial.values) if trial.values else config.seed,)
    epochs = (trial.epochs or full_epochs,) if search.name == "halving" else ()
    return (trial.number, *values, *seed, *epochs, accuracy, outcome.error)


def read_rows(config: Config, rows: Sequence[Mapping[str, str]]) -> list[Tried]:
    """The trials of a table, without asking the strategy again.

    Args:
        config: whose search it was.
        rows: the table's, as text by column.

    Raises:
        FormatError: they are not those of this search.
    """
    search = config.search
    # Those of halving that were trained longest were trained to the end.
    longest = max((int(line.get("epochs", 0)) for line in rows), default=0)
    found = []
    for number, line in enumerate(rows):
        values = {key: _parse_value(axis, line[key], key) for key, axis in search.axes().items()}
        epochs = int(line.get("epochs", longest))
        seed = values.get("seed", trial_seed(search.seed, config.seed, values)) if values else config.seed
        if (int(line["trial"]), int(line["seed"])) != (number, seed):
            raise FormatError(
                f"trial {line['trial']} has the seed {line['seed']}, expected trial {number} with {seed}"
            )
        partly = epochs if epochs < longest else None
        accuracy = float(line["valid_accuracy"] or "nan")
        has_failed, is_known = bool(line["error"]), bool(line["valid_accuracy"])
        # Without a search there need not be a valid part.
        is_sound = 0 <= accuracy <= 1 and not has_failed if is_known else has_failed or not values
        if not is_sound or (epochs < 1 and search.name == "halving"):
            raise FormatError(
                f"trial {number}: found valid_accuracy={line['valid_accuracy']}, error={line['error']!r} and"
                f" {epochs} epochs, expected an accuracy from 0 to 1 or an error, after 1 epoch or more"
            )
        found.append(
            Tried(Trial(number, values, partly), Outcome(number, accuracy, line["error"], partly), seed)
        )
    if len(found) != count_trials(search):
        raise FormatError(f"expected the configuration's {count_trials(search)} trials, found {len(found)}")
    return found


def _parse_value(axis: Axis, text: str, key: str) -> Any:  # noqa: ANN401  (whatever the key takes)
    """A value as the table spells it."""
    if isinstance(axis, Range):
        return int(text) if axis.integer else float(text)
    for value in axis:
        if text == ("" if value is None else str(value)):
            return value
    raise FormatError(f"{key}={text}: not in the search space")
