"""Loss, accuracy and probabilities of a network on the examples of a part."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.config.schema import Config
from pipeline.core.registry import look_up
from pipeline.nn.arrays import Floats, Integers
from pipeline.nn.examples import Examples
from pipeline.nn.losses import LOSSES
from pipeline.nn.network import Network
from pipeline.nn.preprocessing import Loader, Statistics
from pipeline.nn.setup import network_of
from pipeline.nn.workspace import EVALUATION_ROWS, Workspace


@dataclass(frozen=True)
class Evaluation:
    """Mean loss (without any penalty) and accuracy over some images."""

    loss: float
    accuracy: float


class Evaluator:
    """Runs a network over many images in batches of a fixed size, reusing its buffers."""

    def __init__(self, network: Network, loss: str, statistics: Statistics) -> None:
        self._loss = look_up(LOSSES, "loss.name", loss)
        self._loader = Loader(statistics, network.dtype, EVALUATION_ROWS, network.sizes[0])
        self._workspace = Workspace(network, EVALUATION_ROWS, divisor=self._loader.divisor, backward=False)

    def _batches(self, parameters: Floats, examples: Examples) -> Iterator[tuple[slice, Integers]]:
        np.copyto(self._workspace.parameters, parameters)
        for start in range(0, len(examples), EVALUATION_ROWS):
            chosen = examples.indices[start : start + EVALUATION_ROWS]
            self._loader.load(examples.pixels, chosen, self._workspace.inputs)
            yield slice(start, start + len(chosen)), examples.labels[chosen]

    def evaluate(self, parameters: Floats, examples: Examples) -> Evaluation:
        """Loss and accuracy of flat `parameters` on `examples`, of which there has to be at least one."""
        loss, right = 0.0, 0
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for _, labels in self._batches(parameters, examples):
                logits = self._workspace.forward(len(labels))
                loss += float(self._loss.values(logits, labels).sum(dtype=np.float64))
                right += int(np.count_nonzero(logits.argmax(axis=1) == labels))
        return Evaluation(loss / len(examples), right / len(examples))

    def probabilities(self, parameters: Floats, examples: Examples) -> Floats:
        """Class probabilities (n, classes) of every example, in the network's dtype."""
        network = self._workspace.network
        found = np.empty((len(examples), network.sizes[-1]), dtype=parameters.dtype)
        with np.errstate(over="ignore"):
            for rows, labels in self._batches(parameters, examples):
                found[rows] = self._workspace.probabilities(len(labels))
        return found


def evaluate_parts(
    config: Config, parameters: Floats, statistics: Statistics, parts: Mapping[str, Examples]
) -> dict[str, Evaluation]:
    """Loss and accuracy of flat `parameters` on each part that has images."""
    evaluator = Evaluator(network_of(config), config.loss.name, statistics)
    return {name: evaluator.evaluate(parameters, part) for name, part in parts.items() if len(part)}
