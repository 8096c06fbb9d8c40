import ast
import hashlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.random import RandomState

from pipeline.core.errors import ConfigError
from pipeline.data.standins import DRAWINGS, Drawing, digits, draw_digits, draw_scenes, drawing, scenes

# What a small drawing's bytes have to be on every machine. A deliberate change of the drawing code changes
# these, the checksums in conf/dataset and every committed result.
CHECKSUMS = {
    "digits": "0b679018f1efd245a015fd81738f7f3604217852ad8d0ec8f2879cf915a40072",
    "scenes": "b7f84fc3d7c78465715df547bc1c58841a999027ec24f8d4701a80a55c21bd81",
}

SMALL: dict[str, Callable[..., Drawing]] = {"digits": draw_digits, "scenes": draw_scenes}
SHAPES = {"digits": (28, 28, 1), "scenes": (32, 32, 3)}
NAMES = sorted(SMALL)


def checksum(drawn: Drawing) -> str:
    arrays = (drawn.train_images, drawn.train_labels, drawn.test_images, drawn.test_labels)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


@pytest.fixture(scope="module")
def drawings() -> dict[str, Drawing]:
    return {"digits": draw_digits(2_000, 500), "scenes": draw_scenes(1_500, 300)}


def test_every_bundled_set_is_tested() -> None:
    assert sorted(DRAWINGS) == NAMES
    for name, draw in DRAWINGS.items():
        assert draw is SMALL[name]


@pytest.mark.parametrize(
    ("draw", "counts"), [(draw_digits, (60_000, 10_000)), (draw_scenes, (10_000, 2_000))]
)
def test_full_sizes(draw: Callable[..., Drawing], counts: tuple[int, int]) -> None:
    parameters = inspect.signature(draw).parameters
    assert (parameters["train_count"].default, parameters["test_count"].default) == counts


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_dtypes(drawings: dict[str, Drawing], name: str) -> None:
    drawn = drawings[name]
    for images, labels in (
        (drawn.train_images, drawn.train_labels),
        (drawn.test_images, drawn.test_labels),
    ):
        assert images.shape == (len(labels), *SHAPES[name])
        assert labels.shape == (len(images),)
        assert images.dtype == labels.dtype == np.uint8
        assert images.flags.c_contiguous
    assert (len(drawn.train_images), len(drawn.test_images)) == {
        "digits": (2_000, 500),
        "scenes": (1_500, 300),
    }[name]
    assert len(set(drawn.class_names)) == 10


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_balanced_and_in_random_order(drawings: dict[str, Drawing], name: str) -> None:
    for labels in (drawings[name].train_labels, drawings[name].test_labels):
        np.testing.assert_array_equal(np.bincount(labels), np.full(10, len(labels) // 10))
        # In a random order one neighbour in ten is of the same class.
        assert 0.05 < np.mean(labels[1:] == labels[:-1]) < 0.15
        assert set(labels[:100].tolist()) == set(range(10))


@pytest.mark.parametrize("name", NAMES)
def test_no_image_occurs_twice(drawings: dict[str, Drawing], name: str) -> None:
    images = np.concatenate([drawings[name].train_images, drawings[name].test_images])
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("name", NAMES)
def test_same_bytes_every_time(name: str) -> None:
    assert checksum(SMALL[name](300, 100)) == checksum(SMALL[name](300, 100)) == CHECKSUMS[name]


def test_same_bytes_without_the_processors_newer_instructions(python: Callable[..., Any]) -> None:
    features = np._core._multiarray_umath.__cpu_dispatch__  # type: ignore[attr-defined]  # the only list of them
    program = (
        "import pipeline\n"
        "from hashlib import sha256\n"
        "from pipeline.data.standins import draw_digits, draw_scenes\n"
        "for drawn in (draw_digits(300, 100), draw_scenes(300, 100)):\n"
        "    arrays = (drawn.train_images, drawn.train_labels, drawn.test_images, drawn.test_labels)\n"
        "    print(sha256(b''.join(array.tobytes() for array in arrays)).hexdigest())\n"
    )
    environment = {"PIPELINE_RUNTIME": "native", "NPY_DISABLE_CPU_FEATURES": " ".join(features)}
    assert python("-c", program, environment=environment).out.split() == [
        CHECKSUMS["digits"],
        CHECKSUMS["scenes"],
    ]


@pytest.mark.parametrize("draw", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize(("train_count", "test_count"), [(0, 10), (15, 10), (-10, 10), (10, 1), (10, 0)])
def test_counts_that_cannot_be_balanced(
    draw: Callable[[int, int], Drawing], train_count: int, test_count: int
) -> None:
    with pytest.raises(ConfigError, match="expected a positive multiple of 10"):
        draw(train_count, test_count)


@pytest.mark.parametrize(("name", "least"), [("digits", 0.7), ("scenes", 0.2)])
def test_classes_can_be_told_apart(drawings: dict[str, Drawing], name: str, least: float) -> None:
    drawn = drawings[name]
    train = drawn.train_images.reshape(len(drawn.train_images), -1).astype(np.float64)
    test = drawn.test_images.reshape(len(drawn.test_images), -1).astype(np.float64)
    means = np.stack([train[drawn.train_labels == label].mean(axis=0) for label in range(10)])
    distances = ((test[:, None] - means) ** 2).sum(axis=2)
    assert np.mean(distances.argmin(axis=1) == drawn.test_labels) > least


def test_digits_are_white_ink_on_black_paper(drawings: dict[str, Drawing]) -> None:
    images = drawings["digits"].train_images[..., 0]
    assert np.all(images.max(axis=(1, 2)) >= 190)
    inked = (images > 0).mean(axis=(1, 2))
    assert inked.min() > 0.02
    assert inked.max() < 0.45
    assert 0.10 < images.mean() / 255 < 0.16
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert not corners.any()


def test_digits_are_centred_and_fill_their_box(drawings: dict[str, Drawing]) -> None:
    images = drawings["digits"].train_images[..., 0].astype(np.int64)
    ink = images.sum(axis=(1, 2))
    places = np.arange(28)
    row = (images.sum(axis=2) * places).sum(axis=1) / ink
    column = (images.sum(axis=1) * places).sum(axis=1) / ink
    # Clipping the ink at white and at the paper's edge moves the centre a little.
    assert np.abs(row - 13.5).max() < 1.5
    assert np.abs(column - 13.5).max() < 1.5
    assert abs(row.mean() - 13.5) < 0.2
    assert abs(column.mean() - 13.5) < 0.2
    rows, columns = (images > 64).any(axis=2).sum(axis=1), (images > 64).any(axis=1).sum(axis=1)
    extent = np.maximum(rows, columns)
    assert extent.min() >= 16
    assert extent.max() <= 23


@pytest.mark.parametrize("text", [text for texts in digits.TEMPLATES for text in texts])
def test_a_template_is_drawn_through_its_points(text: str) -> None:
    template = digits.read_template(text)
    # Interpolation: every weight set adds up to one, and every control point is itself a sample.
    np.testing.assert_allclose(template.weights.sum(axis=0), 1.0, rtol=0, atol=1e-12)
    samples = (template.weights[:, :, None] * template.points[template.indices]).sum(axis=0)
    distances = np.sqrt(((template.points[:, None] - samples) ** 2).sum(axis=2))
    assert distances.min(axis=1).max() < 1e-9
    # The pen lifts once between two strokes.
    assert np.count_nonzero(~template.inked) == text.count("/")


def test_a_hand_worked_curve() -> None:
    template = digits.read_template("0,0 10,0 10,10")
    first = template.indices[:, 0]
    # Half-way along the first piece: the missing neighbour of (0, 0) is its mirror image (-10, 0), and
    # (-1, 9, 9, -1)/16 of (-10, 0), (0, 0), (10, 0), (10, 10) is (90 + 10 - 10)/16, -10/16.
    pieces = int(np.flatnonzero(np.any(template.indices != first[:, None], axis=0))[0])
    assert pieces % 2 == 0
    middle = template.weights[:, pieces // 2] @ template.points[template.indices[:, pieces // 2]]
    np.testing.assert_allclose(middle, (90 / 16, -10 / 16), rtol=0, atol=1e-12)


def test_written_samples_are_exact_fractions() -> None:
    for texts in digits.TEMPLATES:
        for array in digits._write(RandomState(0), digits.read_template(texts[0]), 20):
            np.testing.assert_array_equal(array * 256, np.floor(array * 256))


@pytest.mark.parametrize("name", scenes.CLASS_NAMES)
def test_a_scene_is_painted_in_single_precision_and_finite(name: str) -> None:
    canvas = scenes._PAINTERS[name](RandomState(0), 50)
    assert canvas.shape == (50, 3, 32, 32)
    assert canvas.dtype == np.float32
    assert np.isfinite(canvas).all()


def test_scenes_vary_in_colour_and_light(drawings: dict[str, Drawing]) -> None:
    drawn = drawings["scenes"]
    for label in range(10):
        colours = drawn.train_images[drawn.train_labels == label].mean(axis=(1, 2))
        assert np.all(colours.std(axis=0) > 15)
    # No picture is blank, and none is grey through and through.
    assert drawn.train_images.std(axis=(1, 2)).max(axis=1).min() > 5
    assert np.ptp(drawn.train_images.astype(np.int64), axis=3).max(axis=(1, 2)).min() > 10


# Exact on every machine: integer work, elementwise IEEE arithmetic, copying. Not in the list, on purpose:
# sin, exp, power, mean, dot, einsum, linspace.
EXACT_FUNCTIONS = {
    *("abs", "clip", "floor", "maximum", "minimum", "sqrt", "where"),
    *("arange", "array", "bincount", "broadcast_to", "empty", "frombuffer", "nonzero", "ones", "ones_like"),
    *("zeros", "zeros_like", "bool_", "float32", "float64", "int64", "uint8"),
}
EXACT_STREAMS = {"bytes", "permutation", "randint", "random_sample"}
# A sum is exact where test_written_samples_are_exact_fractions says so.
EXACT_METHODS = {"astype", "copy", "max", "min", "ravel", "reshape", "sum", "transpose"}
OTHER_METHODS = {"append", "setdefault", "split", "values"}
OTHER_MODULES = {"collections.abc", "dataclasses", "itertools", "numpy.random", "numpy.typing", "typing"}


@pytest.mark.parametrize("module", [digits, drawing, scenes], ids=lambda module: module.__name__)
def test_only_exact_operations(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Pow | ast.MatMult)
        if isinstance(node, ast.Import):
            assert [alias.name for alias in node.names] == ["numpy"]
        if isinstance(node, ast.ImportFrom):
            assert node.module in OTHER_MODULES or str(node.module).startswith("pipeline."), ast.unparse(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "np":
                assert node.attr in EXACT_FUNCTIONS, ast.unparse(node)
            if node.value.id == "random":
                assert node.attr in EXACT_STREAMS, ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if not (isinstance(owner, ast.Name) and owner.id in {"np", "random"}):
                assert node.func.attr in EXACT_METHODS | OTHER_METHODS, ast.unparse(node)
