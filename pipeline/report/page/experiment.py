"""What the page shows of one experiment, as plain data small enough to be part of an HTML file."""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from pipeline.config.checks import require
from pipeline.config.schema import Config
from pipeline.core.files.atomic import Array
from pipeline.nn.arrays import Floats, Integers, Pixels
from pipeline.nn.preprocessing import Statistics
from pipeline.report import metrics
from pipeline.search import table

_GREY_IMAGES_OF_A_CELL: Final = 6
_COLOUR_IMAGES_OF_A_CELL: Final = 3
_COLOURS: Final = 64  # of a colour image: a byte for each pixel instead of three
_SHEET_COLUMNS: Final = 24
_GREY_IMAGES: Final = 600  # of all cells together, where there are many classes
_COLOUR_IMAGES: Final = 300
_PARAMETERS: Final = 500_000  # of a network whose parameters may be in the page: 2 MB
_UNITS: Final = 25  # whose weights are shown where the network itself is not in the page


@dataclass(frozen=True)
class Calibration:
    """Test images gathered by their confidence, see `metrics.calibration_bins`; None where a bin is empty."""

    counts: list[int]
    confidence: list[float | None]
    accuracy: list[float | None]
    error: float


@dataclass(frozen=True)
class Examples:
    """Some images of each cell of the confusion matrix, those that the network was surest of first.

    Attributes:
        sheet: base64 of a PNG with all of them in rows of `columns`.
        columns: how many images stand side by side in it.
        images: place of each in the test set.
        actual: class of each.
        predicted: what each was taken for.
        probability: of the predicted class.
        probability_of_actual: of the actual one.
    """

    sheet: str
    columns: int
    images: list[int]
    actual: list[int]
    predicted: list[int]
    probability: list[float]
    probability_of_actual: list[float]


@dataclass(frozen=True)
class Search:
    """The trials of a search.

    Attributes:
        axes: the keys that were varied.
        values: of each trial, one value for each axis.
        valid_accuracy: of each trial; None for one that failed.
        best: number of the trial whose parameters were kept.
    """

    axes: list[str]
    values: list[list[Any]]
    valid_accuracy: list[float | None]
    best: int


@dataclass(frozen=True)
class Experiment:
    """What the page shows of an experiment; plot writes it as JSON, and report puts it into the page.

    Attributes:
        name: of the experiment.
        dataset: what it ran on, in words.
        source: ``bundled`` or ``official``.
        classes: their names.
        image_shape: height, width and channels.
        sizes: units per layer.
        activation: of the hidden layers.
        history: columns of history.csv; None where a field is empty.
        confusion: images by actual and predicted class.
        precision: of each class.
        recall: of each class.
        calibration: of the test part.
        examples: images of the confusion matrix's cells.
        search: None where nothing was searched.
        parameters: W1, b1, W2, b2 and so on for inputs from 0 to 255, see `encode_numbers`; None for a
            network of colour images, for which nothing can be drawn in the page, and for a large one.
        weights: of some units of the first layer where there are no `parameters`: base64 of int8 (units,
            features), each unit's largest 127 or -127.
    """

    name: str
    dataset: str
    source: str
    classes: list[str]
    image_shape: list[int]
    sizes: list[int]
    activation: str
    history: dict[str, list[float | None]]
    confusion: list[list[int]]
    precision: list[float]
    recall: list[float]
    calibration: Calibration
    examples: Examples
    search: Search | None
    parameters: str | None
    weights: str | None

    def __post_init__(self) -> None:
        count = len(self.classes)
        square = len(self.confusion) == count and all(len(row) == count for row in self.confusion)
        require(square, "confusion", f"{len(self.confusion)} rows", f"{count} rows and columns")
        examples = self.examples
        lengths = {len(column) for column in (examples.images, examples.actual, examples.predicted)}
        require(len(lengths) == 1, "examples", f"{sorted(lengths)} images", "one number of them")
        require(
            (self.parameters is None) != (self.weights is None),
            "parameters",
            "both or neither",
            "either parameters or weights",
        )


def describe_experiment(
    trained: Config,
    history: Mapping[str, Floats],
    parameters: Mapping[str, Floats],
    statistics: Statistics,
    tested: Mapping[str, Array],
    images: Pixels,
    tried: Sequence[table.Tried],
) -> Experiment:
    """Gather what the page shows of an experiment.

    Args:
        trained: the configuration whose parameters were kept.
        history: columns of history.csv, (rows,) each.
        parameters: W1, b1, W2, b2 and so on, from the network.
        statistics: what its preprocessing learnt.
        tested: ``probabilities`` (n, classes), ``labels`` (n,) and ``images`` (n,), places in the test set.
        images: the test set, uint8 (count, height, width, channels).
        tried: the trials of its search; empty without one.

    Returns:
        Plain data whose numbers have six significant digits.
    """
    probabilities, labels = tested["probabilities"], tested["labels"]
    predicted = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(labels, predicted, len(trained.classes))
    scores = metrics.per_class(confusion)
    bins = metrics.calibration_bins(probabilities.max(axis=1), predicted == labels)
    is_answering = (
        images.shape[3] == 1
        # This divides by what each image has, which no weights can.
        and statistics.contrast is None
        and sum(map(np.size, parameters.values())) <= _PARAMETERS
    )
    raw = fold_statistics(parameters, statistics)
    return Experiment(
        name=trained.name,
        dataset=trained.title,
        source=trained.source,
        classes=list(trained.classes),
        image_shape=list(trained.dataset.image_shape),
        sizes=[trained.dataset.features, *trained.sizes[1:]],
        activation=trained.model.activation,
        history={name: rounded(column) for name, column in history.items()},
        confusion=confusion.tolist(),
        precision=_known(scores.precision),
        recall=_known(scores.recall),
        calibration=Calibration(
            bins.counts.tolist(),
            rounded(bins.confidence),
            rounded(bins.accuracy),
            _known(np.array([metrics.calibration_error(bins)]))[0],
        ),
        examples=_choose_examples(tested, predicted, images),
        search=_describe_search(tried) if tried else None,
        parameters=encode_numbers(np.concatenate([raw[name].ravel() for name in raw]))
        if is_answering
        else None,
        weights=None if is_answering else _encode_weights(raw["W1"]),
    )


def fold_statistics(parameters: Mapping[str, Floats], statistics: Statistics) -> dict[str, Floats]:
    """The parameters of a network that takes pixels from 0 to 255 and gives what the given one gives for
    preprocessed ones.

    ``((x / c - m) / d) P W + b = x (P W / (c d)) + (b - (m / d) P W)``

    Args:
        parameters: W1, b1 and so on.
        statistics: ``c``, ``m``, ``d`` and ``P``, without contrast normalization.

    Returns:
        float64 arrays of the same names, W1 with a row for each pixel.
    """  # noqa: D205  (one sentence)
    folded: dict[str, Floats] = {
        name: np.asarray(array, dtype=np.float64) for name, array in parameters.items()
    }
    mean = np.zeros(1) if statistics.mean is None else statistics.mean
    deviation = np.ones(1) if statistics.deviation is None else statistics.deviation
    projected = folded["W1"] if statistics.projection is None else statistics.projection @ folded["W1"]
    weights = projected / np.broadcast_to(deviation, len(projected))[:, np.newaxis]
    folded["b1"] = folded["b1"] - np.broadcast_to(mean, len(weights)) @ weights
    folded["W1"] = weights / statistics.divisor
    return folded


def encode_numbers(numbers: Floats) -> str:
    """Base64 of numbers in three bytes each: float32, little-endian, rounded to 15 bits of its fraction.

    The relative error is at most 2⁻¹⁶, which moves a probability by some 1e-5; float16's 2⁻¹¹ moved them by
    up to 1e-3.

    Args:
        numbers: (count,).
    """
    bits = np.asarray(numbers, dtype="<f4").view("<u4").astype("<u8") + 0x80
    return _base64(bits.view(np.uint8).reshape(-1, 8)[:, 1:4].tobytes())


def _encode_weights(weights: Floats) -> str:
    chosen = np.asarray(weights[:, :_UNITS].T, dtype=np.float64)
    largest = np.abs(chosen).max(axis=1, keepdims=True)
    return _base64(np.rint(chosen * (127 / np.where(largest > 0, largest, 1))).astype(np.int8).tobytes())


def _choose_examples(tested: Mapping[str, Array], predicted: Integers, images: Pixels) -> Examples:
    probabilities, labels = tested["probabilities"], tested["labels"]
    is_grey = images.shape[3] == 1
    limit = _GREY_IMAGES_OF_A_CELL if is_grey else _COLOUR_IMAGES_OF_A_CELL
    most = _GREY_IMAGES if is_grey else _COLOUR_IMAGES
    rows = np.arange(len(labels))
    sure = probabilities[rows, predicted]
    # By cell, and within one the surest first.
    order = np.lexsort((-sure, predicted, labels))
    cells = labels[order].astype(np.int64) * probabilities.shape[1] + predicted[order]
    starts = np.flatnonzero(np.append(True, cells[1:] != cells[:-1]))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    # Where they are too many, the first ones of all cells before the second ones of any.
    by_place = np.argsort(place, kind="stable")[:most]
    chosen = order[np.sort(by_place[place[by_place] < limit])]
    return Examples(
        sheet=encode_picture(_sheet(images[tested["images"][chosen]])),
        columns=_SHEET_COLUMNS,
        images=tested["images"][chosen].tolist(),
        actual=labels[chosen].tolist(),
        predicted=predicted[chosen].tolist(),
        probability=_known(sure[chosen]),
        probability_of_actual=_known(probabilities[chosen, labels[chosen]]),
    )


def _sheet(images: Pixels) -> Pixels:
    """Images (n, height, width, channels) in rows, as one of them."""
    count, height, width, channels = images.shape
    rows = -(-count // _SHEET_COLUMNS)
    padded = np.zeros((rows * _SHEET_COLUMNS, height, width, channels), np.uint8)
    padded[:count] = images
    tiles = padded.reshape(rows, _SHEET_COLUMNS, height, width, channels).swapaxes(1, 2)
    return np.ascontiguousarray(tiles).reshape(rows * height, _SHEET_COLUMNS * width, channels)


def encode_picture(image: Pixels) -> str:
    """Base64 of an image as a PNG.

    Args:
        image: uint8 (height, width, channels), of one channel or three.
    """
    is_grey = image.shape[2] == 1
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if is_grey else image))
    stream = io.BytesIO()
    # zlib builds search for matches in ways of their own; run lengths leave no choice.
    (picture if is_grey else picture.quantize(_COLOURS)).save(stream, "PNG", compress_type=zlib.Z_RLE)
    return _base64(stream.getvalue())


def _describe_search(tried: Sequence[table.Tried]) -> Search:
    axes = list(tried[0].trial.values)
    return Search(
        axes=axes,
        values=[[each.trial.values[axis] for axis in axes] for each in tried],
        valid_accuracy=rounded(np.array([each.outcome.valid_accuracy for each in tried])),
        best=table.best([each.outcome for each in tried]).number,
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def rounded(values: Floats) -> list[float | None]:
    """Numbers (n,) with six significant digits; None where they are not finite."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]


def _known(values: Floats) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
