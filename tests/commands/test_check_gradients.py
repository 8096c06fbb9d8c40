"""check-gradients: a table of errors, and exit code 1 where one is too large."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.core.paths import Layout
from pipeline.nn.activations import ACTIVATIONS, Activation
from tests.shared import said

Array = npt.NDArray[Any]
Run = Callable[..., Any]


def table(text: str) -> dict[str, list[float]]:
    """Parameter -> its errors: of the toy network and of the full-size one."""
    lines = [line.split() for line in text.splitlines() if line[:1] in {"W", "b"}]
    return {name: [float(error) for error in errors[:2]] for name, *errors in lines}


@pytest.mark.parametrize(
    ("overrides", "head", "layers", "full"),
    [
        ([], "sigmoid, cross_entropy, no penalty", 2, "784-100-10"),
        (["experiment=mnist_three_layer"], "sigmoid, cross_entropy, no penalty", 3, "784-50-100-10"),
        (["experiment=mnist_relu_squared"], "relu, squared_error, no penalty", 2, "784-90-10"),
        (["experiment=cifar10_two_layer"], "relu, cross_entropy, l2 0.5", 2, "3072-50-10"),
        (["model=softmax"], "cross_entropy, no penalty", 1, "784-10"),
        (
            [
                "model.hidden=[9,8,7]",
                "model.activation=leaky_relu",
                "loss=half_squared_error",
                "regularizer=l2",
            ],
            "leaky_relu, half_squared_error, l2",
            4,
            "784-9-8-7-10",
        ),
    ],
)
def test_right_gradients_pass(
    checkout: Layout, cli: Run, overrides: list[str], head: str, layers: int, full: str
) -> None:
    ended = cli("check-gradients", *overrides)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(head)
    assert full in ended.out
    errors = table(ended.out)
    assert list(errors) == [f"{letter}{layer}" for layer in range(1, layers + 1) for letter in "Wb"]
    assert all(0 <= error < 1e-7 for pair in errors.values() for error in pair)
    assert any(error > 0 for pair in errors.values() for error in pair)
    assert ended.out.splitlines()[-1] == "All are below 1e-7: the gradients are right."
    if not overrides:
        assert cli("check-gradients").out == ended.out
    del checkout


def test_wrong_gradients_end_with_1(checkout: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(outputs: Array, gradient: Array, scratch: Array) -> None:
        np.square(outputs, out=scratch)
        np.subtract(1.001, scratch, out=scratch)
        np.multiply(gradient, scratch, out=gradient)

    broken = Activation(ACTIVATIONS["tanh"].forward, wrong)
    monkeypatch.setitem(ACTIVATIONS, "tanh", broken)  # type: ignore[arg-type]  # a dict, seen as a Mapping
    ended = cli("check-gradients", "model.activation=tanh")
    assert ended.code == 1
    errors = table(ended.out)
    assert min(*errors["W1"], *errors["b1"]) > 1e-5
    assert max(*errors["W2"], *errors["b2"]) < 1e-7
    assert [line.split()[0] for line in ended.out.splitlines() if line.endswith("wrong")] == ["W1", "b1"]
    assert ended.err.startswith("pipeline: the gradients of W1, b1 differ from the central differences")
    assert ended.err.count("\n") == 2
    assert "All are below" not in ended.out
    del checkout


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["experiment=nope"], "experiment=nope: no such choice; one of "),
        (["model.activation=swish"], "model.activation=swish: unknown; one of "),
        (["model.hiden=[3]"], "model.hiden: no such key; did you mean model.hidden?"),
        (["loss.name=hinge"], "loss.name=hinge: unknown; one of "),
        (["mnist_two_layer"], "mnist_two_layer"),
    ],
)
def test_a_wrong_override_is_told(checkout: Layout, cli: Run, overrides: list[str], told: str) -> None:
    ended = cli("check-gradients", *overrides)
    assert (ended.code, ended.out) == (2, "")
    assert told in said(ended)
    del checkout
