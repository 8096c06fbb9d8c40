"""Initial weights. Biases start at zero."""

import math
from collections.abc import Callable, Mapping
from typing import Final

from pipeline.nn.arrays import Floats, Random

Initializer = Callable[[Random, int, int, float], Floats]
"""``initializer(random, inputs, outputs, scale)`` returns float64 weights of shape (inputs, outputs)."""


def _normal(random: Random, inputs: int, outputs: int, scale: float) -> Floats:
    return scale * random.standard_normal((inputs, outputs))


def _xavier_uniform(random: Random, inputs: int, outputs: int, scale: float) -> Floats:
    limit = scale * math.sqrt(6.0 / (inputs + outputs))
    return random.uniform(-limit, limit, (inputs, outputs))


def _xavier_normal(random: Random, inputs: int, outputs: int, scale: float) -> Floats:
    return scale * math.sqrt(2.0 / (inputs + outputs)) * random.standard_normal((inputs, outputs))


def _he_normal(random: Random, inputs: int, outputs: int, scale: float) -> Floats:
    return scale * math.sqrt(2.0 / inputs) * random.standard_normal((inputs, outputs))


INITIALIZERS: Final[Mapping[str, Initializer]] = {
    "normal": _normal,
    "xavier_uniform": _xavier_uniform,
    "xavier_normal": _xavier_normal,
    "he_normal": _he_normal,
}
"""name -> initializer.

normal: N(0, scale²). xavier_uniform: U(±scale·√(6/(inputs + outputs))) and xavier_normal:
N(0, scale²·2/(inputs + outputs)) (Glorot and Bengio, 2010).
he_normal: N(0, scale²·2/inputs) (He et al., 2015).
"""
