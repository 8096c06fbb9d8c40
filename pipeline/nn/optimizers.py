"""Optimizers: what a step does with a gradient.

An optimizer is plain data plus one function, so that a checkpoint of its slots is exact: `init_state` makes
the slots, `update` changes parameters and slots in place (nothing is allocated per step).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from pipeline.nn.arrays import Floats

State = dict[str, Floats]
Update = Callable[[Floats, Floats, State, float, Mapping[str, float]], None]


class Optimizer(NamedTuple):
    """One optimizer.

    Attributes:
        slots: names of the vectors that it keeps, each shaped like the parameters and zero at first.
        defaults: its hyperparameters other than the learning rate, and their default values.
        update: ``update(parameters, gradient, state, learning_rate, hyperparameters)`` does one step in
            place; all vectors have shape (parameter count,), or are the same slice of such, for nothing but
            numbers of one place are combined. `gradient` may be overwritten. ``state["count"]`` is the number
            of this step, from 1.
    """

    slots: tuple[str, ...]
    defaults: Mapping[str, float]
    update: Update


def init_state(optimizer: Optimizer, parameters: Floats) -> State:
    """The slots before the first step, a scratch vector and the step count, as plain arrays, all zero."""
    state: State = {name: np.zeros_like(parameters) for name in optimizer.slots}
    # Zero although it is never read first: checkpoints hold it, and they are the same bytes on every run.
    state["scratch"] = np.zeros_like(parameters)
    state["count"] = np.zeros((), dtype=np.float64)
    return state


def _sgd(
    parameters: Floats, gradient: Floats, state: State, learning_rate: float, settings: Mapping[str, float]
) -> None:
    """Gradient descent: θ ← θ - η g."""
    del state, settings
    gradient *= learning_rate
    parameters -= gradient


def _momentum(
    parameters: Floats, gradient: Floats, state: State, learning_rate: float, settings: Mapping[str, float]
) -> None:
    """Momentum: v ← μ v - η g; θ ← θ + v (Polyak, 1964)."""
    velocity = state["velocity"]
    velocity *= settings["momentum"]
    gradient *= learning_rate
    velocity -= gradient
    parameters += velocity


def _nesterov(
    parameters: Floats, gradient: Floats, state: State, learning_rate: float, settings: Mapping[str, float]
) -> None:
    """Nesterov: v ← μ v - η g; θ ← θ + μ v - η g (1983, in the form of Sutskever et al., 2013)."""
    velocity, scratch = state["velocity"], state["scratch"]
    velocity *= settings["momentum"]
    gradient *= learning_rate
    velocity -= gradient
    np.multiply(velocity, settings["momentum"], out=scratch)
    scratch -= gradient
    parameters += scratch


def _scaled_step(
    parameters: Floats, gradient: Floats, squares: Floats, scratch: Floats, rate: float, epsilon: float
) -> None:
    """Step scaled by √squares: θ ← θ - rate · g / (√squares + ε)."""
    np.sqrt(squares, out=scratch)
    scratch += epsilon
    np.divide(gradient, scratch, out=scratch)
    scratch *= rate
    parameters -= scratch


def _adagrad(
    parameters: Floats, gradient: Floats, state: State, learning_rate: float, settings: Mapping[str, float]
) -> None:
    """Adagrad: s ← s + g²; θ ← θ - η g / (√s + ε) (Duchi et al., 2011)."""
    squares, scratch = state["squares"], state["scratch"]
    np.square(gradient, out=scratch)
    squares += scratch
    _scaled_step(parameters, gradient, squares, scratch, learning_rate, settings["epsilon"])


def _rmsprop(
    parameters: Floats, gradient: Floats, state: State, learning_rate: float, settings: Mapping[str, float]
) -> None:
    """RMSprop: s ← ρ s + (1 - ρ) g²; θ ← θ - η g / (√s + ε) (Tieleman and Hinton, 2012)."""
    squares, scratch = state["squares"], state["scratch"]
    squares *= settings["decay"]
    np.square(gradient, out=scratch)
    scratch *= 1 - settings["decay"]
    squares += scratch
    _scaled_step(parameters, gradient, squares, scratch, learning_rate, settings["epsilon"])


def _adam(
    parameters: Floats, gradient: Floats, state: State, learning_rate: float, settings: Mapping[str, float]
) -> None:
    """Adam: bias-corrected moments (Kingma and Ba, 2015, algorithm 1, reordered as in section 2)."""
    beta1, beta2 = settings["beta1"], settings["beta2"]
    mean, squares, scratch, count = state["mean"], state["squares"], state["scratch"], state["count"]
    mean *= beta1
    np.multiply(gradient, 1 - beta1, out=scratch)
    mean += scratch
    squares *= beta2
    np.square(gradient, out=scratch)
    scratch *= 1 - beta2
    squares += scratch
    correction = np.sqrt(1 - beta2 ** float(count))
    rate = learning_rate * correction / (1 - beta1 ** float(count))
    _scaled_step(parameters, mean, squares, scratch, float(rate), settings["epsilon"] * float(correction))


def decay_weights(weights: Sequence[Floats], learning_rate: float, settings: Mapping[str, float]) -> None:
    """Decoupled weight decay: W ← W - η λ W, before the step (Loshchilov and Hutter, 2019).

    λ is the hyperparameter ``weight_decay`` of the optimizers that have it; biases, γ and β do not decay.
    """
    if "weight_decay" in settings:
        kept = 1 - learning_rate * settings["weight_decay"]
        for weight in weights:
            np.multiply(weight, kept, out=weight)


_ADAM: Final = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

OPTIMIZERS: Final[Mapping[str, Optimizer]] = {
    "sgd": Optimizer((), {}, _sgd),
    "momentum": Optimizer(("velocity",), {"momentum": 0.9}, _momentum),
    "nesterov": Optimizer(("velocity",), {"momentum": 0.9}, _nesterov),
    "adagrad": Optimizer(("squares",), {"epsilon": 1e-7}, _adagrad),
    "rmsprop": Optimizer(("squares",), {"decay": 0.9, "epsilon": 1e-7}, _rmsprop),
    "adam": Optimizer(("mean", "squares"), _ADAM, _adam),
    "adamw": Optimizer(("mean", "squares"), {**_ADAM, "weight_decay": 0.01}, _adam),
}
"""name -> optimizer; their docstrings give the formulas. adamw is adam after `decay_weights`."""
