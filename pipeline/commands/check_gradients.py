"""check-gradients: compare the analytic gradients of a configuration with central differences."""

import argparse
from dataclasses import replace

from pipeline.core.errors import PipelineError
from pipeline.core.paths import Layout

EXAMPLE = "check-gradients experiment=mnist_two_layer"

_DIRECTIONS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Compare the analytic gradients with central differences, in float64 and on random inputs, so that no"
        " data are needed: every parameter of a toy network with the configuration's activation, loss,"
        " regularizer and number of layers, and its full-size network along random directions. Fails where a"
        " relative error exceeds 1e-7."
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="Hydra overrides, as of `pipeline train`: experiment=…, model.activation=tanh …",
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print the worst relative error per parameter array.

    Raises:
        ConfigError: an override is wrong.
        PipelineError: an error is larger than a right gradient's.
    """
    from pipeline.commands.shared.terminal import table, write
    from pipeline.config.compose import compose
    from pipeline.nn.arrays import random_source
    from pipeline.nn.setup import training_network_of
    from pipeline.report import gradient_check as check
    from pipeline.stages.compose import check_names

    config = compose(layout.conf, options.overrides, from_environment=True)
    check_names(config)
    random = random_source("generator", config.seed)
    full = replace(training_network_of(config), dtype="float64")
    toy = check.toy_network(full)
    found = [
        check.check(
            network,
            directions,
            random,
            loss=config.loss.name,
            label_smoothing=config.loss.label_smoothing,
            regularizer=config.regularizer.name,
            strength=config.regularizer.strength,
        )
        for network, directions in (
            (toy, check.every_parameter(toy)),
            (full, check.random_directions(full, random, _DIRECTIONS)),
        )
    ]
    penalty = config.regularizer.name
    penalty = "no penalty" if penalty == "none" else f"{penalty} {config.regularizer.strength:g}"
    activation = f"{config.model.activation}, " if config.model.hidden else ""
    write(f"{activation}{config.loss.name}, {penalty}: worst relative errors of the gradient")
    write()
    sizes = ["-".join(map(str, network.sizes)) for network in (toy, full)]
    rows = [
        ["", f"toy {sizes[0]}", sizes[1], ""],
        ["", "every parameter", f"{_DIRECTIONS} random directions", ""],
    ]
    for name in toy.shapes:
        errors = [errors[name] for errors in found]
        wrong = max(errors) > check.TOLERANCE
        rows.append([name, *(f"{error:.1e}" for error in errors), "wrong" if wrong else ""])
    for line in table(rows, left=(0, 3)):
        write(line)
    write()
    limit = f"{check.TOLERANCE:.0e}".replace("e-0", "e-")
    wrong_names = [row[0] for row in rows if row[3]]
    if wrong_names:
        raise PipelineError(
            f"the gradients of {', '.join(wrong_names)} differ from the central differences by more than"
            f" {limit}.\nLook at the derivatives of {config.model.activation}, {config.loss.name}"
            f" and {config.regularizer.name} in pipeline/nn/."
        )
    write(f"All are below {limit}: the gradients are right.")
