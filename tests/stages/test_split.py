"""split: index arrays of the parts, and statistics of the train part alone."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from pipeline.config.build import with_values
from pipeline.config.schema import Config
from pipeline.core.errors import ConfigError, FormatError, PipelineError
from pipeline.core.files.arrays import read_arrays
from pipeline.core.files.images import load
from pipeline.core.paths import Layout
from pipeline.stages import split
from pipeline.stages.shared.context import ExperimentContext

Run = Callable[..., Any]
Arrays = Mapping[str, np.ndarray[Any, Any]]


@pytest.fixture
def run(parsed: Layout, configs: dict[str, Config]) -> Run:
    """Splits with other values at some keys than `tiny` has."""

    def run(changes: Mapping[str, object] | None = None) -> Arrays:
        split.run(
            ExperimentContext(parsed, with_values(configs["tiny"], changes or {}), parsed.results("tiny"))
        )
        return read_arrays(parsed.results("tiny").split)

    return run


def test_head_and_tail(composed: Layout, cli: Run) -> None:
    ended = cli("split", "tiny")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "160 train, 40 valid and 100 test images\n"
    arrays = read_arrays(composed.results("tiny").split)
    assert set(arrays) == {"train", "valid", "test", "divisor"}
    np.testing.assert_array_equal(arrays["train"], np.arange(160))
    np.testing.assert_array_equal(arrays["valid"], np.arange(160, 200))
    np.testing.assert_array_equal(arrays["test"], np.arange(100))
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        **dict.fromkeys(["train", "valid", "test"], "int64"),
        "divisor": "float64",
    }
    assert arrays["divisor"] == 255


STRATIFIED = {"split.name": "stratified", "split.train_fraction": 0.5, "split.valid_fraction": 0.2}


def test_the_same_configuration_gives_the_same_bytes(parsed: Layout, run: Run) -> None:
    def digest(changes: Mapping[str, object] | None = None) -> str:
        run({**STRATIFIED, **(changes or {})})
        return hashlib.sha256(parsed.results("tiny").split.read_bytes()).hexdigest()

    assert digest() == digest()
    assert digest({"seed": 1}) != digest({"seed": 2})
    assert digest({"random": "legacy"}) != digest({"random": "generator"})
    # What comes after has no part in it.
    assert digest({"model.hidden": [3], "optimizer.name": "adam"}) == digest()


def test_stratified_parts_have_every_class_in_proportion(parsed: Layout, run: Run) -> None:
    arrays = run(STRATIFIED)
    labels = load(parsed.parsed("bundled", "tiny"), "train").labels
    np.testing.assert_array_equal(np.bincount(labels[arrays["train"]]), np.full(10, 10))
    np.testing.assert_array_equal(np.bincount(labels[arrays["valid"]]), np.full(10, 4))
    assert not np.intersect1d(arrays["train"], arrays["valid"]).size


def test_the_mean_image_is_that_of_the_train_part(parsed: Layout, run: Run) -> None:
    arrays = run({"preprocess.name": "mean_image", "split.train_count": 50})
    pixels = load(parsed.parsed("bundled", "tiny"), "train").images.reshape(200, -1).astype(np.float64)
    np.testing.assert_allclose(arrays["mean"], pixels[:50].mean(axis=0), rtol=1e-12)
    assert not np.allclose(arrays["mean"], pixels.mean(axis=0))
    assert arrays["divisor"] == 1


def test_standardizing_learns_from_the_train_part(parsed: Layout, run: Run) -> None:
    arrays = run({"preprocess.name": "standardize", "split.train_count": 50})
    pixels = load(parsed.parsed("bundled", "tiny"), "train").images[:50].astype(np.float64) / 255
    np.testing.assert_allclose(arrays["mean"], np.full(784, pixels.mean()), rtol=1e-12)
    np.testing.assert_allclose(arrays["deviation"], np.full(784, pixels.std()), rtol=1e-12)
    assert set(arrays) == {"train", "valid", "test", "divisor", "mean", "deviation"}


@pytest.mark.parametrize(("name", "components"), [("pca", 7), ("zca", None)])
def test_principal_components_are_learnt_from_the_train_part(
    parsed: Layout, run: Run, name: str, components: int | None
) -> None:
    changes = {"preprocess.name": name, "preprocess.components": components, "preprocess.epsilon": 0.5}
    arrays = run({**changes, "split.train_count": 50})
    assert set(arrays) == {"train", "valid", "test", "divisor", "mean", "contrast", "projection"}
    assert (arrays["projection"].shape, arrays["projection"].dtype) == ((784, components or 784), np.float32)
    pixels = load(parsed.parsed("bundled", "tiny"), "train").images[:50].reshape(50, -1).astype(np.float64)
    rows = pixels - pixels.mean(axis=1, keepdims=True)
    rows /= np.sqrt(np.square(rows).mean(axis=1, keepdims=True) + arrays["contrast"])
    np.testing.assert_allclose(arrays["mean"], rows.mean(axis=0), atol=1e-12)
    variances = np.square((rows - arrays["mean"]) @ arrays["projection"]).mean(axis=0)
    assert (variances < 1).all()
    assert name == "zca" or (np.diff(variances) < 1e-6).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split.valid_count": 200}, "split: 1 train + 200 valid images asked for, 200 there are"),
        ({"split.train_count": 161}, "split: 161 train + 40 valid images asked for, 200 there are"),
        ({"split.test_count": 101}, "split: 101 test images asked for, 100 there are"),
        ({"dataset.image_shape": [14, 14, 1]}, "dataset.image_shape=[14, 14, 1]: the images in "),
    ],
)
def test_a_split_that_does_not_fit_the_data_set(
    parsed: Layout, run: Run, changes: Mapping[str, object], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        run(changes)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert not parsed.results("tiny").split.exists()


def test_arrays_that_are_damaged_or_missing(parsed: Layout, run: Run) -> None:
    path = parsed.parsed("bundled", "tiny") / "train" / "images.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"images\.npy"):
        run()
    path.unlink()
    with pytest.raises(PipelineError, match=r"images\.npy"):
        run()
