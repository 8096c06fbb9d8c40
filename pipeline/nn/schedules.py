"""Learning rate schedules: a factor on the base rate, from how far the training is."""

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple


class Moment(NamedTuple):
    """Where a training run is.

    Attributes:
        epoch: completed epochs, from 0.
        step: completed steps, from 0.
        total_steps: steps of the whole run.
    """

    epoch: int
    step: int
    total_steps: int


class Schedule(NamedTuple):
    """One schedule.

    Attributes:
        defaults: its hyperparameters and their default values.
        factor: ``factor(moment, settings)`` is the multiple of the base learning rate for the next step.
    """

    defaults: Mapping[str, float]
    factor: Callable[[Moment, Mapping[str, float]], float]


def _constant(moment: Moment, settings: Mapping[str, float]) -> float:
    del moment, settings
    return 1.0


def _exponential(moment: Moment, settings: Mapping[str, float]) -> float:
    return float(settings["decay"] ** moment.epoch)


def _step(moment: Moment, settings: Mapping[str, float]) -> float:
    return float(settings["decay"] ** (moment.epoch // int(settings["every_epochs"])))


def _cosine(moment: Moment, settings: Mapping[str, float]) -> float:
    warm = int(settings["warm_up"] * moment.total_steps)
    if moment.step < warm:
        return (moment.step + 1) / (warm + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (moment.step - warm) / (moment.total_steps - warm)))


def _linear(moment: Moment, settings: Mapping[str, float]) -> float:
    del settings
    return 1.0 - moment.step / moment.total_steps


SCHEDULES: Final[Mapping[str, Schedule]] = {
    "constant": Schedule({}, _constant),
    "exponential": Schedule({"decay": 0.95}, _exponential),
    "step": Schedule({"decay": 0.1, "every_epochs": 10}, _step),
    "cosine": Schedule({"warm_up": 0.0}, _cosine),
    "linear": Schedule({}, _linear),
}
"""name -> schedule.

constant: 1. exponential: decay^epoch. step: decay^⌊epoch / every_epochs⌋. cosine: ½(1 + cos(π·step / total))
(Loshchilov and Hutter, 2017, without restarts), after a straight line up to 1 over the fraction warm_up of
the steps (Goyal et al., 2017). linear: 1 - step / total.
"""
