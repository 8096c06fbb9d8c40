"""compare: our pickles, anybody's pickles, and what is no pickle of parameters."""

import itertools
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipeline.core.files.arrays import read_arrays, write_arrays
from pipeline.core.files.parameters import read_parameters, write_parameters
from pipeline.core.files.tables import read_json
from pipeline.core.paths import Layout
from tests.shared import said

Array = npt.NDArray[Any]
Run = Callable[..., Any]

# What a reader of the textbook would write; it knows pickle and NumPy.
TEXTBOOK_SCRIPT = """\
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    network = pickle.load(file)
images, labels = np.load(sys.argv[2]), np.load(sys.argv[3])
x = images.reshape(len(images), -1).astype(np.float32) / 255
z = 1 / (1 + np.exp(-(np.dot(x, network["W1"]) + network["b1"])))
y = np.dot(z, network["W2"]) + network["b2"]
print(np.sum(np.argmax(y, axis=1) == labels) / len(labels), sorted(network), "pipeline" in sys.modules)
"""


def network(*sizes: int, seed: int = 0, dtype: str = "float64") -> dict[str, Array]:
    random = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes), start=1):
        # Large enough that the images are not all put into one class.
        found[f"W{layer}"] = (8 * random.standard_normal((inputs, outputs)) / np.sqrt(inputs)).astype(dtype)
        found[f"b{layer}"] = (0.1 * random.standard_normal(outputs)).astype(dtype)
    return found


def logits(parameters: Mapping[str, Array], images: Array, activation: Callable[[Array], Array]) -> Array:
    values = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
    depth = len(parameters) // 2
    for layer in range(1, depth + 1):
        values = values @ parameters[f"W{layer}"] + parameters[f"b{layer}"]
        if layer < depth:
            values = activation(values)
    return values


def sigmoid(values: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(values / 2))


def relu(values: Array) -> Array:
    return np.maximum(values, 0)


def cross_entropy(scores: Array, labels: Array) -> float:
    scores = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]).mean())


def images_and_labels(layout: Layout, part: str = "test") -> tuple[Array, Array]:
    folder = layout.parsed("bundled", "tiny") / part
    return np.load(folder / "images.npy"), np.load(folder / "labels.npy")


@pytest.fixture
def pair(parsed: Layout) -> Layout:
    """Two textbook pickles in the checkout: a.pkl (sigmoid) and b.pkl (ReLU, deeper)."""
    (parsed.root / "a.pkl").write_bytes(pickle.dumps(network(784, 20, 10, seed=1)))
    (parsed.root / "b.pkl").write_bytes(pickle.dumps(network(784, 12, 15, 10, seed=2)))
    return parsed


PAIR = ("compare", "a.pkl", "b.pkl", "--dataset", "tiny", "--activation", "sigmoid,relu")


def test_two_architectures_on_the_same_images(pair: Layout, cli: Run) -> None:
    ended = cli(*PAIR, "--json")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    images, labels = images_and_labels(pair)
    right = []
    for side, seed, sizes, activation in (
        ("a", 1, (784, 20, 10), sigmoid),
        ("b", 2, (784, 12, 15, 10), relu),
    ):
        scores = logits(network(*sizes, seed=seed), images, activation)
        right.append(scores.argmax(axis=1) == labels)
        assert found[side]["layers"] == list(sizes)
        assert found[side]["accuracy"] == right[-1].mean()
        assert found[side]["loss"] == pytest.approx(cross_entropy(scores, labels), rel=1e-9)
    assert found["difference"]["accuracy"] == found["b"]["accuracy"] - found["a"]["accuracy"]
    assert found["only_a_right"] == np.count_nonzero(right[0] & ~right[1])
    assert found["only_b_right"] == np.count_nonzero(right[1] & ~right[0])
    counts = ("both_right", "only_a_right", "only_b_right", "both_wrong")
    assert sum(found[key] for key in counts) == found["images"] == 100
    assert found["source"] == "bundled"
    assert found["title"] == "a few drawn digits (not MNIST)"


def test_the_same_in_words(pair: Layout, cli: Run) -> None:
    figures = json.loads(cli(*PAIR, "--json").out)
    ended = cli(*PAIR)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[:3] == ["A = a.pkl", "B = b.pkl", "on a few drawn digits (not MNIST), test part, 100 images"]
    (a,), (b,) = ([line for line in lines if line.startswith(f"{name}  ")] for name in "AB")
    assert a.split()[:5] == ["A", "784-20-10", "sigmoid", "unit", f"{100 * figures['a']['accuracy']:.2f}"]
    assert b.split()[:4] == ["B", "784-12-15-10", "relu", "unit"]
    assert f"{figures['mcnemar']['p_value']:.3g}" in ended.out
    low, high = figures["interval"]
    assert low <= figures["difference"]["accuracy"] <= high
    assert max(map(len, lines)) <= 100
    del pair


def test_part_and_source_are_chosen(pair: Layout, cli: Run) -> None:
    found = json.loads(cli(*PAIR, "--json", "--part", "train", "--source", "official").out)
    assert (found["images"], found["source"], found["title"]) == (200, "official", "a few digits")
    images, labels = images_and_labels(pair, "train")
    scores = logits(network(784, 20, 10, seed=1), images, sigmoid)
    assert found["a"]["accuracy"] == (scores.argmax(axis=1) == labels).mean()


@pytest.mark.parametrize("loss", ["squared_error", "half_squared_error"])
def test_the_loss_can_be_another(pair: Layout, cli: Run, loss: str) -> None:
    images, labels = images_and_labels(pair)
    scores = np.exp(logits(network(784, 20, 10, seed=1), images, sigmoid))
    shares = scores / scores.sum(axis=1, keepdims=True)
    expected = np.square(shares - np.eye(10)[labels]).sum(axis=1).mean() * (0.5 if "half" in loss else 1)
    found = json.loads(cli(*PAIR, "--json", "--loss", loss).out)
    assert found["loss"] == loss
    assert found["a"]["loss"] == pytest.approx(expected, rel=1e-9)


def test_the_images_of_disagreement_are_drawn(pair: Layout, cli: Run) -> None:
    ended = cli(*PAIR, "--picture", "new/out.png")
    assert ended.code == 0
    assert ended.out.splitlines()[-1].startswith("new/out.png: the 40 of ")
    with Image.open(pair.root / "new" / "out.png") as picture:
        assert picture.format == "PNG"
        assert picture.width >= 560
    ended = cli(
        "compare", "a.pkl", "a.pkl", "--dataset", "tiny", "--activation", "relu", "--picture", "same.png"
    )
    assert ended.out.splitlines()[-1] == "same.png: they agree on every image"
    assert (pair.root / "same.png").is_file()


# Our own pickles


def test_what_lies_beside_our_pickle_is_used(evaluated: Layout, cli: Run) -> None:
    ours = "outputs/tiny/parameters.pkl"
    found = json.loads(cli("compare", ours, ours, "--json").out)
    measured = read_json(evaluated.results("tiny").metrics)
    assert found["a"]["accuracy"] == measured["test"]
    assert found["a"]["loss"] == measured["loss"]
    assert (found["dataset"], found["source"]) == ("tiny", "bundled")
    assert (found["a"]["activation"], found["a"]["preprocess"]) == ("sigmoid", "unit")
    assert (found["disagreements"], found["mcnemar"]["p_value"]) == (0, 1.0)


def test_the_statistics_beside_our_pickle_are_used(parsed: Layout, cli: Run) -> None:
    params = parsed.params.read_text()
    parsed.params.write_text(
        params.replace("{dataset: tiny} # quick", "{dataset: tiny, preprocess: mean_image}")
    )
    for stage in ("compose", "split", "train", "evaluate"):
        assert cli(stage, "tiny").code == 0
    ours = "outputs/tiny/parameters.pkl"
    measured = read_json(parsed.results("tiny").metrics)
    found = json.loads(cli("compare", ours, ours, "--json").out)
    assert (found["a"]["accuracy"], found["a"]["loss"]) == (measured["test"], measured["loss"])
    assert found["a"]["preprocess"] == "mean_image"

    # Without them they can be learnt anew, from all train images and so not quite the same.
    parsed.results("tiny").split.unlink()
    ended = cli("compare", ours, ours)
    assert ended.code == 1
    assert "split.npz" in ended.err
    assert "--preprocess mean_image" in ended.err
    found = json.loads(cli("compare", ours, ours, "--preprocess", "mean_image", "--json").out)
    images, labels = images_and_labels(parsed)
    trained = read_parameters(parsed.results("tiny").parameters)
    mean = images_and_labels(parsed, "train")[0].mean(axis=0)
    scores = logits(trained, 255 * (images - mean), sigmoid)
    assert found["a"]["accuracy"] == (scores.argmax(axis=1) == labels).mean()
    assert found["a"]["loss"] == pytest.approx(cross_entropy(scores, labels), rel=1e-4)


def test_a_search_s_pickle_is_that_of_its_best_trial(parsed: Layout, cli: Run) -> None:
    for stage in ("compose", "split", "train", "evaluate"):
        assert cli(stage, "tiny_grid").code == 0
    ours = "outputs/tiny_grid/parameters.pkl"
    found = json.loads(cli("compare", ours, ours, "--json").out)
    assert found["a"]["accuracy"] == read_json(parsed.results("tiny_grid").metrics)["test"]
    assert found["a"]["layers"][0::2] == [784, 10]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder from which NumPy can be imported, and nothing else."""
    folder = tmp_path / "site"
    folder.mkdir()
    installed = Path(np.__file__).parent.parent
    for name in ("numpy", "numpy.libs"):
        if (installed / name).is_dir():
            (folder / name).symlink_to(installed / name)
    return folder


def test_our_pickle_serves_a_textbook_script(evaluated: Layout, cli: Run, python: Run, site: Path) -> None:
    folder = evaluated.parsed("bundled", "tiny") / "test"
    # -S leaves out the environment's packages, ours among them; -I the working directory and PYTHONPATH.
    code = f"import sys; sys.path.append({str(site)!r})\n{TEXTBOOK_SCRIPT}"
    arguments = (evaluated.results("tiny").parameters, folder / "images.npy", folder / "labels.npy")
    ended = python("-I", "-S", "-c", code, *map(str, arguments))
    assert ended.err == ""
    expected = read_json(evaluated.results("tiny").metrics)["test"]
    assert ended.out == f"{expected} ['W1', 'W2', 'b1', 'b2'] False\n"
    ended = python("-I", "-S", "-c", f"import sys; sys.path.append({str(site)!r})\nimport pipeline")
    assert "No module named 'pipeline'" in ended.err
    del cli


# Anybody's pickles


def test_a_textbook_pickle_is_read(parsed: Layout, cli: Run) -> None:
    """Its names in other letters and another order; what else a pickle may be is the reader's own test."""
    parameters = network(784, 5, 6, 10, seed=3)
    theirs = {name.lower(): array for name, array in reversed(parameters.items())}
    (parsed.root / "theirs.pkl").write_bytes(pickle.dumps(theirs, 0))
    write_parameters(parsed.root / "ours.pkl", parameters)
    ended = cli("compare", "theirs.pkl", "ours.pkl", "--dataset", "tiny", "--activation", "sigmoid", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    images, labels = images_and_labels(parsed)
    scores = logits(parameters, images, sigmoid)
    assert found["a"]["layers"] == [784, 5, 6, 10]
    assert found["a"]["accuracy"] == found["b"]["accuracy"] == (scores.argmax(axis=1) == labels).mean()
    assert found["a"]["loss"] == found["b"]["loss"]
    assert found["disagreements"] == 0


def test_a_pickle_of_two_dtypes_is_computed_in_the_wider(parsed: Layout, cli: Run) -> None:
    parameters = network(784, 5, 10, seed=3, dtype="float32")
    parameters["W2"] = network(784, 5, 10, seed=4)["W2"] * 1e3
    (parsed.root / "theirs.pkl").write_bytes(pickle.dumps(parameters))
    ended = cli(
        "compare", "theirs.pkl", "theirs.pkl", "--dataset", "tiny", "--activation", "sigmoid", "--json"
    )
    images, labels = images_and_labels(parsed)
    found = json.loads(ended.out)["a"]["loss"]
    scores = logits(parameters, images, sigmoid)
    assert found == pytest.approx(cross_entropy(scores, labels), rel=1e-6)


def test_without_hidden_layers_no_activation_is_needed(parsed: Layout, cli: Run) -> None:
    (parsed.root / "a.pkl").write_bytes(pickle.dumps(network(784, 10)))
    ended = cli("compare", "a.pkl", "a.pkl", "--dataset", "tiny")
    assert ended.code == 0
    assert "784-10" in ended.out


# What cannot be compared


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch exploded",)


# One of each kind; all that the reader of pickles refuses is tested with it.
GARBAGE: dict[str, bytes] = {
    "text": b"W1,b1\n1,2\n",
    "code": pickle.dumps({"W1": Bomb()}),
    "no biases": pickle.dumps({"W1": np.zeros((784, 10))}),
    "wrong inputs": pickle.dumps(network(3072, 10)),
    "wrong classes": pickle.dumps(network(784, 5, 7)),
    "overflowing": pickle.dumps({"W1": np.full((784, 10), 1e308), "b1": np.zeros(10)}),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_told_in_a_line(pair: Layout, cli: Run, name: str) -> None:
    (pair.root / "bad.pkl").write_bytes(GARBAGE[name])
    before = sorted(pair.root.rglob("*"))
    for files in (("a.pkl", "bad.pkl"), ("bad.pkl", "a.pkl")):
        options = ("--dataset", "tiny", "--activation", "sigmoid", "--picture", "out.png", "--json")
        ended = cli("compare", *files, *options)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("pipeline: bad.pkl: ")
        assert ended.err.count("\n") == 1
        assert len(ended.err) < 250
    assert sorted(pair.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("none.pkl", "b.pkl"), 1, "cannot read none.pkl: No such file or directory"),
        (("a.pkl", "conf"), 1, "conf: expected a file, found a folder"),
        (("a.pkl", "b.pkl", "--dataset", "nope"), 2, "dataset=nope: unknown; one of "),
        (
            ("a.pkl", "b.pkl", "--dataset", "tiny", "--source", "mine"),
            2,
            "source=mine: tiny has no such source",
        ),
        (
            ("a.pkl", "b.pkl", "--dataset", "cifar10"),
            1,
            "a.pkl: 784 inputs and 10 classes do not fit cifar10",
        ),
        (
            ("a.pkl", "b.pkl", "--dataset", "mnist", "--activation", "relu"),
            1,
            "data/parsed/bundled/mnist is missing",
        ),
        (
            ("a.pkl", "b.pkl"),
            2,
            "a.pkl: no config.yaml lies beside it; say which data set it is for: --dataset",
        ),
        (
            ("a.pkl", "b.pkl", "--dataset", "tiny"),
            2,
            "a.pkl: no config.yaml lies beside it; say what its hidden",
        ),
        (
            ("a.pkl", "b.pkl", "--dataset", "tiny", "--activation", "relu,"),
            2,
            "b.pkl: no config.yaml lies beside it",
        ),
        (
            ("a.pkl", "b.pkl", "--dataset", "tiny", "--activation", "swish"),
            2,
            "--activation swish: unknown; one of",
        ),
        (
            ("a.pkl", "b.pkl", "--activation", "relu,relu,relu"),
            2,
            "--activation relu,relu,relu: expected one name",
        ),
        (("a.pkl", "b.pkl", "--loss", "hinge"), 2, "--loss hinge: unknown; one of cross_entropy"),
        (
            ("a.pkl", "b.pkl", "--dataset", "tiny", "--activation", "relu", "--preprocess", "whiten"),
            2,
            "--preprocess whiten: unknown; one of none, unit",
        ),
        (("a.pkl", "b.pkl", "--picture", "out.jpg"), 2, "--picture out.jpg: the picture is written as PNG"),
        (("a.pkl", "x.png", "--picture", "./x.png"), 2, "--picture x.png: that is one of the files to read"),
    ],
)
def test_a_mistake_is_told_in_two_lines_at_most(
    pair: Layout, cli: Run, arguments: tuple[str, ...], code: int, told: str
) -> None:
    before = sorted(pair.root.rglob("*"))
    ended = cli("compare", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said(ended).startswith(told)
    assert sorted(pair.root.rglob("*")) == before


def test_few_disagreements_are_all_drawn(pair: Layout, cli: Run) -> None:
    nearly = network(784, 20, 10, seed=1)
    nearly["b2"] = nearly["b2"] + 0.5 * np.eye(10)[6]
    (pair.root / "b.pkl").write_bytes(pickle.dumps(nearly))
    arguments = ("compare", "a.pkl", "b.pkl", "--dataset", "tiny", "--activation", "sigmoid")
    count = json.loads(cli(*arguments, "--json").out)["disagreements"]
    assert 1 < count < 40
    ended = cli(*arguments, "--picture", "out.png")
    assert ended.out.splitlines()[-1] == f"out.png: the {count} images on which they disagree"
    assert "95 % interval" in ended.out


def test_pickles_of_two_sources_want_a_choice(evaluated: Layout, cli: Run) -> None:
    ours, other = evaluated.results("tiny"), evaluated.results("other")
    shutil.copytree(ours.folder, other.folder)
    other.config.write_text(ours.config.read_text().replace("source: bundled", "source: official"))
    files = ("outputs/tiny/parameters.pkl", "outputs/other/parameters.pkl")
    ended = cli("compare", *files)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "pipeline: the pickles were trained on bundled and on official: say which to use with --source\n"
    )
    assert json.loads(cli("compare", *files, "--source", "official", "--json").out)["source"] == "official"
    assert json.loads(cli("compare", files[1], files[1], "--json").out)["source"] == "official"


def test_statistics_of_other_images_are_refused(evaluated: Layout, cli: Run) -> None:
    ours = evaluated.results("tiny")
    arrays = read_arrays(ours.split)
    write_arrays(ours.split, **{**arrays, "mean": np.zeros(3072)})
    ended = cli("compare", "outputs/tiny/parameters.pkl", "outputs/tiny/parameters.pkl")
    assert (ended.code, ended.out) == (1, "")
    assert "split.npz: mean: found the shape [3072], expected [784]; make it again" in ended.err


def test_a_config_that_is_not_the_pickle_s_is_not_used(evaluated: Layout, cli: Run) -> None:
    folder = evaluated.results("tiny").folder
    (folder / "other.pkl").write_bytes(pickle.dumps(network(784, 9, 10)))
    ended = cli("compare", "outputs/tiny/parameters.pkl", "outputs/tiny/other.pkl")
    assert ended.code == 2
    assert "outputs/tiny/other.pkl: the config.yaml beside it is of other layers (784-8-10)" in ended.err
    ended = cli("compare", "outputs/tiny/parameters.pkl", "outputs/tiny/other.pkl", "--activation", ",tanh")
    assert ended.code == 0
    sides = [line.split() for line in ended.out.splitlines() if line.startswith(("A  ", "B  "))]
    assert [side[2] for side in sides] == ["sigmoid", "tanh"]
    (folder / "config.yaml").write_text("learning_rate: 0.1\n")
    ended = cli("compare", "outputs/tiny/other.pkl", "outputs/tiny/other.pkl", "--dataset", "tiny")
    assert (ended.code, ended.out) == (2, "")
    assert "the config.yaml beside it cannot be used" in ended.err
