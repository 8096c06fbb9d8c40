"""Optuna as a strategy: it is asked for trials in rounds and told their outcomes."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.config.space import Axis, Search
from pipeline.core.errors import ConfigError
from pipeline.core.registry import look_up
from pipeline.search.space import axes_of, needed_number
from pipeline.search.trials import Rounds, Trial


def optuna_rounds(search: Search, full_epochs: int) -> Rounds:
    """Trials that one of Optuna's samplers chooses, `search.batch` at a time."""
    del full_epochs
    trials, batch, name = (
        needed_number(search, "trials"),
        needed_number(search, "batch"),
        search.sampler or "tpe",
    )
    axes = axes_of(search)
    chosen = look_up(SAMPLERS, "search.sampler", name)
    optuna = _import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # Some options are called experimental; the lock file pins what they do.
        warnings.simplefilter("ignore")
        try:
            sampler = getattr(optuna.samplers, chosen.name)(seed=search.seed, **chosen.settings)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            for start in range(0, trials, batch):
                asked = [study.ask() for _ in range(min(batch, trials - start))]
                outcomes = yield [
                    Trial(start + index, {key: _suggest_values(one, key, axis) for key, axis in axes.items()})
                    for index, one in enumerate(asked)
                ]
                for one, outcome in zip(asked, outcomes, strict=True):
                    if outcome.error:
                        study.tell(one, state=optuna.trial.TrialState.FAIL)
                    else:
                        study.tell(one, outcome.valid_accuracy)
        except ImportError as error:
            raise ConfigError(
                f"search.sampler={name}: needs a package that is not installed: {error.name}"
            ) from None


def _import_optuna() -> Any:  # noqa: ANN401  (a module that need not be there)
    try:
        import optuna  # an extra, and slow to import
    except ImportError:
        raise ConfigError(
            "search=optuna: the package optuna is not installed: pip install -e '.[optuna]'"
        ) from None
    return optuna


def _suggest_values(asked: Any, key: str, axis: Axis) -> Any:  # noqa: ANN401  (an Optuna trial; any value)
    if isinstance(axis, list):
        # By position: a value may be a list, which Optuna does not store.
        return axis[asked.suggest_categorical(key, list(range(len(axis))))]
    if axis.integer:
        step = int(axis.step or 1)
        return asked.suggest_int(key, int(axis.low), int(axis.high), step=step, log=axis.log)
    return asked.suggest_float(key, axis.low, axis.high, step=axis.step, log=axis.log)


@dataclass(frozen=True)
class _Sampler:
    name: str
    settings: Mapping[str, Any]


SAMPLERS: Final[Mapping[str, _Sampler]] = {
    # Trials of one batch know of each other, else they would all be drawn to the same place.
    "tpe": _Sampler("TPESampler", {"constant_liar": True}),
    "random": _Sampler("RandomSampler", {}),
    "cmaes": _Sampler("CmaEsSampler", {}),
    "qmc": _Sampler("QMCSampler", {"scramble": True}),
}
"""name -> Optuna's sampler. tpe: tree of Parzen estimators. cmaes needs the package cmaes, qmc SciPy."""
