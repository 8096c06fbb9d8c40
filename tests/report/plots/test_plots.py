"""Every picture, in ordinary and extreme cases: complete, within its frame, the same bytes each time."""

import functools
import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from pipeline.report import metrics
from pipeline.report.plots import (
    confusion as confusion_plots,
)
from pipeline.report.plots import (
    curves as curves_plots,
)
from pipeline.report.plots import (
    gallery,
    page,
    searches,
    style,
)
from pipeline.report.plots import (
    predictions as predictions_plots,
)
from pipeline.report.plots.curves import step_losses, training_curves
from pipeline.report.plots.weights import first_layer_weights

Array = npt.NDArray[Any]

TITLE = "mnist_two_layer"
SUBTITLE = "bundled data (drawn digits, not MNIST)"
DIGITS = [str(digit) for digit in range(10)]
THINGS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class Drawn(NamedTuple):
    """A figure, its file, and the texts that were really drawn."""

    figure: Figure
    png: bytes
    texts: list[Text]

    @property
    def told(self) -> list[str]:
        return [text.get_text() for text in self.texts]


def draw(figure: Figure) -> Drawn:
    texts: list[Text] = []
    original: Any = Text.draw

    def draw_text(text: Text, renderer: RendererAgg) -> None:
        texts.append(text)
        original(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", draw_text)
        png = style.to_png(figure)
    return Drawn(figure, png, [text for text in texts if text.get_visible() and text.get_text().strip()])


def told(figure: Figure) -> list[str]:
    return draw(figure).told


def pixels(figure: Figure) -> Array:
    return np.asarray(Image.open(io.BytesIO(style.to_png(figure))))


def history(epochs: int, *, rate: float = 1.0, valid: bool = True) -> dict[str, Array]:
    epoch = np.arange(1.0, epochs + 1)
    random = np.random.default_rng(epochs)
    columns = {
        "epoch": epoch,
        "step": 500 * epoch,
        "learning_rate": 0.1 * rate**epoch,
        "train_loss": 2.3 * np.exp(-epoch / 3) + 0.05,
        "train_accuracy": 1 - 0.8 * np.exp(-epoch / 2),
    }
    if valid:
        columns["valid_loss"] = columns["train_loss"] + random.uniform(0, 0.1, epochs)
        columns["valid_accuracy"] = columns["train_accuracy"] - random.uniform(0, 0.02, epochs)
    return columns


def curves(columns: dict[str, Array]) -> Figure:
    return training_curves(columns, title=TITLE, subtitle=SUBTITLE)


def steps(count: int, fall: float = 1.0) -> Figure:
    random = np.random.default_rng(count)
    index = np.arange(count)
    losses = 2.3 * np.exp(-fall * index / max(count, 1)) * random.lognormal(0, 0.3, count)
    return step_losses(index, losses, title=TITLE, subtitle=SUBTITLE)


def classified(classes: int, count: int = 2000) -> tuple[Array, Array]:
    """Probabilities and labels of a fairly good classifier."""
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, count)
    scores = random.normal(size=(count, classes))
    scores[np.arange(count), labels] += 2
    exponentials = np.exp(scores)
    return exponentials / exponentials.sum(axis=1, keepdims=True), labels


def confusion(names: list[str], count: int = 2000) -> Figure:
    probabilities, labels = classified(len(names), count)
    matrix = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), len(names))
    return confusion_plots.confusion(matrix, names, title=TITLE, subtitle=SUBTITLE)


def reliability() -> Figure:
    probabilities, labels = classified(10)
    bins = metrics.calibration_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    return curves_plots.reliability(bins, title=TITLE, subtitle=SUBTITLE)


def roc(names: list[str], *, areas: bool = True) -> Figure:
    probabilities, labels = classified(len(names))
    lines = {"micro-average": metrics.micro_average_roc_curve(probabilities, labels)}
    lines |= {name: metrics.roc_curve(probabilities[:, k], labels == k) for k, name in enumerate(names)}
    measured = {name: metrics.roc_area(curve) for name, curve in lines.items()} if areas else None
    return curves_plots.roc(lines, title=TITLE, subtitle=SUBTITLE, areas=measured)


def weights(hidden: int, shape: tuple[int, int, int], *, before: bool = False) -> Figure:
    random = np.random.default_rng(hidden)
    size = (shape[0] * shape[1] * shape[2], hidden)
    return first_layer_weights(
        random.normal(0, 0.2, size),
        shape,
        title=TITLE,
        subtitle=SUBTITLE,
        before=random.normal(0, 0.01, size) if before else None,
    )


def images(count: int, shape: tuple[int, int, int]) -> Array:
    """Slopes of different steepness."""
    down, across, channel = np.indices(shape)
    return (
        np.stack([(3 * index * down + 5 * across + 40 * channel) % 256 for index in range(count)]).astype(
            np.uint8
        )
        if count
        else np.zeros((0, *shape), np.uint8)
    )


def mistakes(count: int, names: list[str], shape: tuple[int, int, int] = (28, 28, 1)) -> Figure:
    actual = np.arange(count) % len(names)
    return gallery.mistakes(
        images(count, shape),
        actual,
        (actual + 1) % len(names),
        np.linspace(1.0, 0.5, count),
        np.linspace(0.0, 0.4, count),
        names,
        title=TITLE,
        subtitle=SUBTITLE,
    )


def sheet(count: int, names: list[str], shape: tuple[int, int, int] = (28, 28, 1)) -> Figure:
    labels = np.arange(count) % len(names)
    return gallery.contact_sheet(images(count, shape), labels, names, title=TITLE, subtitle=SUBTITLE)


def disagreements(count: int, names: list[str], shape: tuple[int, int, int] = (28, 28, 1)) -> Figure:
    actual = np.arange(count) % len(names)
    first, second = (actual + np.arange(count) % 3) % len(names), (actual + 1) % len(names)
    shares = np.linspace(1.0, 0.5, count)
    return gallery.disagreements(
        images(count, shape),
        actual,
        (first, second),
        (shares, 0.9 * shares),
        names,
        title=TITLE,
        subtitle=SUBTITLE,
    )


def predictions(
    count: int, names: list[str], shape: tuple[int, int, int] = (28, 28, 1), *, known: bool = True
) -> Figure:
    probabilities, labels = classified(len(names), count)
    return predictions_plots.predictions(
        images(count, shape),
        [f"folder/image {index} of a rather long name.png" for index in range(count)],
        probabilities,
        labels.tolist() if known else [None] * count,
        names,
        title=TITLE,
        subtitle=SUBTITLE,
    )


def grid(*sizes: int, missing: float = 0.1) -> Figure:
    random = np.random.default_rng(sum(sizes))
    names = ["hidden", "learning_rate", "regularization", "momentum", "decay"]
    labels = {
        name: [f"{value}e-3" for value in range(size)] for name, size in zip(names, sizes, strict=False)
    }
    scores = np.where(random.random(sizes) < missing, np.nan, random.uniform(0.1, 0.5, sizes))
    return searches.grid_heat_maps(labels, scores, title=TITLE, subtitle=SUBTITLE)


def searched(count: int, axes: int) -> tuple[list[searches.SearchAxis], Array]:
    """Draws over axes of all kinds, and scores that depend on the first of them; the first few failed."""
    random = np.random.default_rng(count)
    rates = 10.0 ** random.uniform(-4, -1, count)
    kinds = [
        searches.SearchAxis("optimizer.learning_rate", rates, log=True),
        searches.SearchAxis(
            "model.hidden", random.integers(0, 4, count) * 1.0, ["50", "100", "100-50", "9-9-9-9"]
        ),
        searches.SearchAxis("training.batch_size", random.integers(10, 300, count) * 1.0),
        searches.SearchAxis("regularizer.strength", random.choice([0.75, 1.0, 1.25], count)),
        searches.SearchAxis(
            "model.activation", random.integers(0, 3, count) * 1.0, ["relu", "sigmoid", "tanh"]
        ),
    ]
    scores = 0.9 - 0.05 * (np.log10(rates) + 2.3) ** 2 + random.normal(0, 0.01, count)
    scores[rates > 0.08] = 0.1
    scores[: count // 10] = np.nan
    return kinds[:axes], scores


def search_axes(count: int, axes: int) -> Figure:
    return searches.search_axes(*searched(count, axes), title=TITLE, subtitle=SUBTITLE)


def parallel(count: int, axes: int) -> Figure:
    return searches.parallel_coordinates(*searched(count, axes), title=TITLE, subtitle=SUBTITLE)


FIGURES: dict[str, Callable[[], Figure]] = {
    **{f"curves of {count}": lambda count=count: curves(history(count)) for count in (1, 2, 17, 100)},  # type: ignore[misc]  # a default binds the loop's value
    "curves, rate falls": lambda: curves(history(12, rate=0.5)),
    "curves, train only": lambda: curves(history(6, rate=0.95, valid=False)),
    "curves, valid only": lambda: curves(
        {name: column * (np.nan if "train" in name else 1) for name, column in history(6).items()}
    ),
    "curves, nothing known": lambda: curves({"epoch": np.arange(3.0)}),
    "curves, no epoch": lambda: curves({name: column[:0] for name, column in history(1).items()}),
    "curves, perfect": lambda: curves(
        {"valid_accuracy": np.array([0.5, 1.0, 1.0]), "valid_loss": np.array([1, 1e-4, 1e-9])}
    ),
    "curves, equal": lambda: curves({"train_loss": np.ones(4), "valid_loss": np.ones(4)}),
    **{f"{count} steps": lambda count=count: steps(count) for count in (0, 1, 2, 60)},  # type: ignore[misc]  # the same
    "10,000 steps, steep": lambda: steps(10_000, fall=6),
    "confusion": lambda: confusion(THINGS),
    "confusion of two": lambda: confusion(["cat", "dog"]),
    "confusion of one": lambda: confusion(["cat"]),
    "confusion of twenty": lambda: confusion([f"{name} {k}" for k in range(2) for name in THINGS], 60_000),
    "confusion of a hundred": lambda: confusion([f"{name}_{k}" for k in range(10) for name in THINGS]),
    "confusion of nothing": lambda: confusion_plots.confusion(
        np.zeros((3, 3), np.int64), ["a", "b", "c"], title=TITLE, subtitle=SUBTITLE
    ),
    "reliability": reliability,
    "ROC": lambda: roc(THINGS),
    "ROC of many": lambda: roc([f"{name}_{k}" for k in range(2) for name in THINGS]),
    "ROC without areas": lambda: roc(["cat", "dog"], areas=False),
    "weights": lambda: weights(50, (28, 28, 1)),
    "weights, before": lambda: weights(50, (28, 28, 1), before=True),
    "weights, one": lambda: weights(1, (28, 28, 1), before=True),
    "weights, many": lambda: weights(300, (8, 8, 1)),
    "weights, RGB": lambda: weights(50, (32, 32, 3), before=True),
    "weights, all zero": lambda: first_layer_weights(
        np.zeros((12, 3)), (3, 4, 1), title=TITLE, subtitle=SUBTITLE
    ),
    **{f"{count} mistakes": lambda count=count: mistakes(count, THINGS) for count in (0, 1, 2, 7, 24)},  # type: ignore[misc]  # the same
    "mistakes, RGB, long names": lambda: mistakes(5, ["a class of a very long name indeed"] * 3, (32, 32, 3)),
    **{f"sheet of {count}": lambda count=count: sheet(count, DIGITS) for count in (0, 1, 3, 50)},  # type: ignore[misc]  # the same
    "sheet of 200, RGB": lambda: sheet(200, THINGS, (12, 12, 3)),
    "sheet, large and oblong": lambda: sheet(3, THINGS, (100, 1000, 3)),
    "sheet of dots": lambda: sheet(5, THINGS, (1, 1, 1)),
    **{f"{count} disagreements": lambda count=count: disagreements(count, DIGITS) for count in (0, 1, 7, 40)},  # type: ignore[misc]  # the same
    "disagreements, RGB, long names": lambda: disagreements(
        5, [f"{k} is a class of a very long name indeed" for k in range(4)], (32, 32, 3)
    ),
    **{f"{count} predictions": lambda count=count: predictions(count, DIGITS) for count in (1, 2, 5, 30)},  # type: ignore[misc]  # the same
    "predictions, unknown": lambda: predictions(3, THINGS, (32, 32, 3), known=False),
    "predictions among many": lambda: predictions(
        4, [f"{name} number {k} of them" for k in range(10) for name in THINGS], (32, 32, 3)
    ),
    "predictions, one of two": lambda: predictions(1, ["cat", "dog"], (10, 200, 1)),
    "grid of three": lambda: grid(3, 5, 3),
    "grid of two": lambda: grid(5, 3),
    "grid of one": lambda: grid(5),
    "grid of one trial": lambda: grid(1, 1, missing=0),
    "grid of five": lambda: grid(2, 3, 1, 2, 2),
    "grid, large": lambda: grid(2, 4, 12),
    "grid, nothing known": lambda: grid(2, 3, missing=1),
    **{f"grid or draws, {axes} axes": lambda axes=axes: search_axes(150, axes) for axes in (1, 2, 3, 5)},  # type: ignore[misc]  # the same
    "grid or draws, two trials": lambda: search_axes(2, 3),
    "grid or draws, many trials": lambda: search_axes(3000, 3),
    "grid or draws, nothing known": lambda: searches.search_axes(
        searched(5, 2)[0], np.full(5, np.nan), title=TITLE, subtitle=SUBTITLE
    ),
    **{f"parallel, {axes} axes": lambda axes=axes: parallel(150, axes) for axes in (3, 5)},  # type: ignore[misc]  # the same
    "parallel, two trials": lambda: parallel(2, 4),
    "parallel, many trials": lambda: parallel(400, 4),
    "parallel, nothing known": lambda: searches.parallel_coordinates(
        searched(5, 3)[0], np.full(5, np.nan), title=TITLE, subtitle=SUBTITLE
    ),
}


@functools.cache
def drawn(name: str) -> Drawn:
    return draw(FIGURES[name]())


# One of each kind. The others are its extremes.
ORDINARY = [
    "curves, rate falls",
    "60 steps",
    "confusion",
    "reliability",
    "ROC",
    "weights, one",
    "7 mistakes",
    "7 disagreements",
    "2 predictions",
    "grid of two",
    "grid or draws, 3 axes",
    "parallel, 3 axes",
]

every_case = pytest.mark.parametrize(
    "name", [name if name in ORDINARY else pytest.param(name, marks=pytest.mark.slow) for name in FIGURES]
)


@every_case
def test_a_figure_says_what_it_shows(name: str) -> None:
    figure, _, texts = drawn(name)
    assert TITLE in drawn(name).told
    assert not any(text.get_parse_math() for text in texts)
    assert any(text.get_text().startswith(SUBTITLE.split(maxsplit=1)[0]) for text in texts)
    # Of several heat maps or charts only the outer ones are labelled.
    labelled = [axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes if axes.axison]
    assert all(labelled) or (("grid" in name or "predictions" in name) and any(labelled))


@every_case
def test_texts_are_inside_of_the_canvas_and_apart(name: str) -> None:
    figure, _, texts = drawn(name)
    boxes = [text.get_window_extent() for text in texts]
    corners = np.array([[box.x0, box.y0, box.x1, box.y1] for box in boxes])
    width, height = figure.bbox.size
    outside = (corners[:, :2] < 0).any(axis=1) | (corners[:, 2:] > [width, height]).any(axis=1)
    assert [texts[index].get_text() for index in np.flatnonzero(outside)] == []

    upright = np.array([text.get_rotation() in {0, 90} for text in texts])
    low = np.maximum(corners[:, np.newaxis, :2], corners[:, :2])
    high = np.minimum(corners[:, np.newaxis, 2:], corners[:, 2:])
    touching = (high - low > 2).all(axis=2) & upright & upright[:, np.newaxis]
    pairs = np.argwhere(np.triu(touching, 1)).tolist()
    assert [(texts[first].get_text(), texts[second].get_text()) for first, second in pairs] == []


@every_case
def test_a_picture_is_of_a_handy_size(name: str) -> None:
    figure, png, _ = drawn(name)
    picture = Image.open(io.BytesIO(png))
    assert picture.mode == "RGB"
    assert picture.size == tuple(np.rint(figure.get_size_inches() * style.DOTS_PER_INCH))
    assert 560 <= picture.width <= 1200
    assert 150 <= picture.height <= 2400


@pytest.mark.slow
@pytest.mark.parametrize("name", ORDINARY)
def test_drawing_again_gives_the_same_bytes(name: str) -> None:
    figure, png, _ = drawn(name)
    assert style.to_png(figure) == png
    assert style.to_png(FIGURES[name]()) == png


def chunks(png: bytes) -> list[bytes]:
    names, position = [], 8
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        names.append(png[position + 4 : position + 8])
        position += 12 + length
    return names


def test_a_file_holds_nothing_but_the_picture() -> None:
    stream = io.BytesIO()
    style.save(curves(history(3)), stream)
    assert stream.getvalue() == style.to_png(curves(history(3)))
    assert set(chunks(stream.getvalue())) == {b"IHDR", b"IDAT", b"IEND"}


def test_a_file_is_compressed_by_run_lengths_alone() -> None:
    png = drawn("confusion").png
    picture = Image.open(io.BytesIO(png))
    streams = {}
    for strategy in (zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY):
        streams[strategy] = io.BytesIO()
        picture.save(streams[strategy], format="PNG", compress_type=strategy)
    assert png == streams[zlib.Z_RLE].getvalue()
    assert png != streams[zlib.Z_DEFAULT_STRATEGY].getvalue()


SCRIPT = """
import hashlib, sys
from pathlib import Path
sys.path[:0] = {path!r}
import pipeline.report.plots.style  # before matplotlib, which test_plots imports by itself
import test_plots
for name in {names!r}:
    print(hashlib.sha256(test_plots.style.to_png(test_plots.FIGURES[name]())).hexdigest())
print("matplotlib.pyplot" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        (
            b"font.size: 20\nfont.family: serif\naxes.facecolor: red\nfigure.dpi: 50\nsavefig.dpi: 60\n"
            b"lines.linewidth: 9\ntext.hinting: none\naxes.grid.axis: x\nfigure.constrained_layout.h_pad: 1\n"
        ),
        b"\xff\xfe axes.grid: false\n",
    ],
    ids=["other settings", "settings that are no text"],
)
def test_the_surroundings_change_no_picture(
    tmp_path: Path, python: Callable[..., Any], settings: bytes
) -> None:
    """What notebooks and users set: settings and styles, hinting, another backend, the hashes' seed."""
    (tmp_path / "matplotlib" / "stylelib").mkdir(parents=True)
    for name in ("matplotlibrc", "matplotlib/matplotlibrc", "matplotlib/stylelib/mine.mplstyle"):
        (tmp_path / name).write_bytes(settings)
    names = ORDINARY[::2]
    here = Path(__file__)
    script = SCRIPT.format(path=[str(here.parent.parent), str(here.parent)], names=names)
    other = {
        "FREETYPE_PROPERTIES": "truetype:interpreter-version=35",
        "LC_ALL": "C",
        "MATPLOTLIBRC": str(tmp_path),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PILLOW_BLOCK_SIZE": "many",
        "PYTHONHASHSEED": "12345",
        "TZ": "Asia/Tokyo",
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    ended = python("-c", script, environment=other, cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    *hashes, pyplot = ended.out.split()
    assert hashes == [hashlib.sha256(drawn(name).png).hexdigest() for name in names]
    assert pyplot == "False"


def test_the_users_settings_stay_as_they_are() -> None:
    with mpl.rc_context({"font.size": 17.0}):
        before = dict(mpl.rcParams)
        style.to_png(curves(history(3)))
        assert dict(mpl.rcParams) == before


def test_the_font_is_the_one_that_matplotlib_brings_along() -> None:
    for weight in ("normal", "bold"):
        properties = mpl.font_manager.FontProperties(family="DejaVu Sans", weight=weight)
        assert Path(mpl.font_manager.findfont(properties)).is_relative_to(mpl.get_data_path())


def test_curves_hold_the_history() -> None:
    columns = history(6, rate=0.5)
    figure = curves(columns)
    loss, accuracy, rate = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), columns["train_loss"])
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), columns["valid_loss"])
    np.testing.assert_allclose(np.asarray(accuracy.lines[1].get_ydata()), 100 * columns["valid_accuracy"])
    np.testing.assert_array_equal(rate.lines[0].get_ydata(), columns["learning_rate"])
    texts = told(figure)
    assert f"train {100 * columns['train_accuracy'][-1]:.2f}%" in texts
    for measure, best in (
        ("loss", columns["valid_loss"].argmin()),
        ("accuracy", columns["valid_accuracy"].argmax()),
    ):
        last, highest = columns[f"valid_{measure}"][[-1, best]]
        form = "{:#.3g}" if measure == "loss" else "{:.2%}"
        assert f"valid {form.format(last)} · best {form.format(highest)} at epoch {best + 1}" in texts
    assert len(curves(history(6)).axes) == 2


def test_a_gap_in_the_history_is_left_out() -> None:
    columns = history(6)
    columns["valid_loss"][[0, 3]] = np.nan
    line = curves(columns).axes[0].lines[1]
    np.testing.assert_array_equal(line.get_xdata(), [2, 3, 5, 6])


def test_step_losses_hold_every_step_and_a_running_median() -> None:
    index = np.arange(300)
    losses = np.where(index % 50 == 7, 100.0, 1 + index / 300)
    losses[5] = np.nan
    axes = step_losses(index, losses, title=TITLE, subtitle=SUBTITLE).axes[0]
    raw, median = axes.lines
    assert len(np.asarray(raw.get_ydata())) == 299
    middle = np.asarray(median.get_ydata())
    assert middle.max() < 2.1
    assert (np.diff(middle) >= 0).all()
    assert axes.get_yscale() == "linear"
    assert steps(10_000, fall=6).axes[0].get_yscale() == "log"


def test_the_confusion_matrix_writes_counts_recall_and_accuracy() -> None:
    matrix = np.array([[50, 0, 2], [1_000, 3_000, 0], [0, 0, 0]])
    figure = confusion_plots.confusion(matrix, ["cat", "dog", "$"], title=TITLE, subtitle=SUBTITLE)
    texts = told(figure)
    for text in ("50", "2", "1,000", "3,000", "96.2%", "75.0%", "none", "$"):
        assert text in texts
    assert f"{SUBTITLE} · accuracy 75.27% (3,050 of 4,052 right)" in texts
    assert "0" not in [text.get_text() for text in figure.axes[0].texts]
    picture = figure.axes[0].images[0].get_array()
    assert picture is not None
    np.testing.assert_allclose(picture[0, 1], [1, 1, 1])
    # The worst share of an actual class has the strongest colour; the diagonal has none of it.
    assert picture[1, 0].sum() == min(picture[row, column].sum() for row in range(3) for column in range(3))
    assert picture[0, 0][2] > picture[0, 0][0]


def test_a_large_confusion_matrix_lists_its_mistakes() -> None:
    matrix = np.eye(30, dtype=np.int64) * 10
    matrix[3, 7] = 5
    names = [f"class {k}" for k in range(30)]
    texts = told(confusion_plots.confusion(matrix, names, title=TITLE, subtitle=SUBTITLE))
    assert [text for text in texts if "taken for" in text] == ["5 × class 3\n   taken for class 7"]


def test_a_share_of_few_examples_has_no_gap() -> None:
    counts = np.array([0, 29, 30, 20000])
    share = np.array([np.nan, 0.0, 0.6, 0.9])
    bins = metrics.CalibrationBins(counts, np.array([np.nan, 0.4, 0.7, 0.95]), share)
    figure = curves_plots.reliability(bins, title=TITLE, subtitle=SUBTITLE)
    (gaps,) = [each for each in figure.axes[0].collections if each.get_label() == "gap"]
    assert [path.vertices[0, 0] for path in gaps.get_paths()] == [70.0, 95.0]
    texts = told(figure)
    assert "the same of fewer than 30 examples" in texts
    assert {"29", "30", "20,000"} <= set(texts)


def test_calibration_error_is_that_of_the_metrics() -> None:
    probabilities, labels = classified(10)
    error = metrics.expected_calibration_error(probabilities, labels)
    assert f"{SUBTITLE} · expected calibration error {100 * error:.2f}%" in told(reliability())


def test_roc_areas_are_listed_from_small_to_large() -> None:
    zeros_and_ones = np.array([0.0, 1.0])
    line = metrics.RocCurve(zeros_and_ones, zeros_and_ones, zeros_and_ones)
    undefined = metrics.RocCurve(zeros_and_ones, zeros_and_ones * np.nan, zeros_and_ones)
    areas = {"micro": 0.9, "cat": 0.8, "dog": float("nan"), "owl": 0.7}
    lines = {"micro": line, "cat": line, "dog": undefined, "owl": line}
    figure = curves_plots.roc(lines, title=TITLE, subtitle=SUBTITLE, areas=areas)
    listed = [text.get_text() for text in figure.axes[-1].texts]
    assert listed == ["micro", "0.9000", "owl", "0.7000", "cat", "0.8000", "dog", "undefined"]
    # The diagonal and the defined curves.
    assert [len(axes.lines) for axes in figure.axes] == [4, 0]
    alone = curves_plots.roc({"micro": line}, title=TITLE, subtitle=SUBTITLE, areas=areas)
    assert [text.get_text() for text in alone.axes[-1].texts] == listed


def test_tiles_are_crisp_copies_of_the_images() -> None:
    picture = images(1, (28, 28, 3))
    drawn = pixels(gallery.contact_sheet(picture, np.zeros(1, int), ["x"], title=TITLE, subtitle=SUBTITLE))
    enlarged = picture[0].repeat(16, axis=0).repeat(16, axis=1)
    rows = np.flatnonzero((drawn[:, 21] == enlarged[0, 0]).all(axis=1))
    np.testing.assert_array_equal(drawn[rows[0] : rows[0] + 448, 21 : 21 + 448], enlarged)


def test_mistakes_name_both_classes_with_their_probabilities() -> None:
    texts = told(
        gallery.mistakes(
            images(3, (8, 8, 1)),
            np.array([3, 0, 1]),
            np.array([5, 1, 0]),
            np.array([0.97, 1.0, 0.995]),
            np.array([0.02, 0.0, 0.004]),
            THINGS,
            title=TITLE,
            subtitle=SUBTITLE,
        )
    )
    captions = [text for text in texts if text[0] in "✗✓"]
    assert captions == [
        "✗ dog (97%)",
        "✓ cat (2%)",
        "✗ automobile (>99.9%)",
        "✓ airplane (<0.1%)",
        "✗ airplane (99.5%)",
        "✓ automobile (0.4%)",
    ]
    assert "no mistakes: every image was recognised" in told(mistakes(0, THINGS))


def test_a_long_class_name_leaves_room_for_its_probability() -> None:
    assert "✗ a very long nam… (>99.9%)" in told(mistakes(2, ["a very long name", "a very long name indeed"]))


def test_weights_are_drawn_on_one_symmetric_scale() -> None:
    values = np.zeros((16, 2))
    values[0] = 1
    values[15] = -1
    after = pixels(first_layer_weights(values, (4, 4, 1), title=TITLE, subtitle=SUBTITLE))
    both = pixels(first_layer_weights(values, (4, 4, 1), title=TITLE, subtitle=SUBTITLE, before=values / 2))
    for end in ("#7A3300", "#003A5D"):
        strongest = [round(255 * part) for part in to_rgb(end)]
        columns = np.flatnonzero((after == strongest).all(axis=2).any(axis=0))
        assert columns[-1] > after.shape[1] - 130, "the colour bar"
        tops = [
            int((picture == strongest)[:, : columns[-1] - 40].all(axis=2).any(axis=1).argmax())
            for picture in (after, both)
        ]
        # Alone, the first row has the strongest colours; the row of weights before training above it has not.
        assert 0 < tops[0] < tops[1] - 300


def test_weights_before_training_are_a_single_row() -> None:
    """Of as many units as a row below has, however many there are."""
    one, many = (
        first_layer_weights(values, (8, 8, 1), title=TITLE, subtitle=SUBTITLE, before=0.1 * values)
        for values in (np.eye(64)[:, :1], np.eye(64)[:, :60])
    )
    assert "before training, the same units · standard deviation 0.0124" in told(one)
    (text,) = [text for text in told(many) if text.startswith("before")]
    units = int(re.findall(r"(\d+) of the units", text)[0])
    assert units < 60
    assert 60 % units == 0, "no row is left unfinished"


def test_the_strongest_units_are_shown() -> None:
    values = np.full((4, 300), 1e-3)
    values[:, ::3] = 1
    figure = first_layer_weights(values, (2, 2, 1), title=TITLE, subtitle=SUBTITLE)
    assert f"{SUBTITLE} · weights of the 100 strongest of 300 hidden units" in told(figure)
    tiles = pixels(figure)[200:, :900]
    white, strongest = (tiles == 255).all(axis=2), (tiles == [122, 51, 0]).all(axis=2)
    assert (white | strongest).all()
    assert strongest.any()


def test_the_best_trial_is_marked_and_named() -> None:
    scores = np.array([[[0.1, 0.2, np.nan], [0.3, 0.5, 0.1]], [[0.4, 0.5, 0.2], [0.1, 0.1, 0.1]]])
    labels = {"hidden": ["150", "300"], "rate": ["1e-3", "1e-4"], "decay": ["0", "0.5", "1"]}
    figure = searches.grid_heat_maps(labels, scores, title=TITLE, subtitle=SUBTITLE)
    texts = told(figure)
    # Of the two trials with 50 % the earlier one.
    assert f"{SUBTITLE} · best 50.00% at hidden 150, rate 1e-4, decay 0.5" in texts
    assert {"hidden 150", "hidden 300", "rate", "decay", "30.0", "–"} <= set(texts)
    marks = [patch for axes in figure.axes[:2] for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [patch.get_xy() for patch in marks] == [(0.5, 0.5)]
    assert marks[0].axes is figure.axes[0]


def test_further_axes_show_their_best() -> None:
    scores = np.zeros((2, 2, 2, 2))
    scores[1, 0, 1] = [0.3, 0.4]
    labels = {name: ["x", "y"] for name in "abcd"}
    figure = searches.grid_heat_maps(labels, scores, title=TITLE, subtitle=SUBTITLE)
    assert f"{SUBTITLE} · best 40.00% at a y, b x, c y, d y · best over d" in told(figure)
    assert [text.get_text() for text in figure.axes[1].texts] == ["0.0", "40.0", "0.0", "0.0"]


def test_what_the_marks_of_a_search_are() -> None:
    (legend,) = search_axes(150, 3).legends
    assert [text.get_text() for text in legend.get_texts()][::2] == ["trial", "best trial"]


def test_scores_of_a_search_are_marked_at_round_values() -> None:
    axes, _ = searched(45, 3)
    scores = np.linspace(0.516, 0.565, 45)
    figure = searches.parallel_coordinates(axes, scores, title=TITLE, subtitle=SUBTITLE)
    marks = [text for text in told(figure) if re.fullmatch(r"[\d.]+%", text)]
    assert marks == ["52%", "53%", "54%", "55%", "56%"]


@pytest.mark.parametrize("draw_search", [searches.search_axes, searches.parallel_coordinates])
def test_the_best_of_a_search_is_named_and_what_failed_counted(draw_search: Callable[..., Figure]) -> None:
    axes, scores = searched(40, 3)
    best = int(np.nanargmax(scores))
    text = " ".join(told(draw_search(axes, scores, title=TITLE, subtitle=SUBTITLE)))
    assert "40 trials, 4 failed" in text
    assert f"best {100 * scores[best]:.2f}% at optimizer.learning_rate {axes[0].positions[best]:g}" in text
    assert f"model.hidden {axes[1].labels[int(axes[1].positions[best])]}" in text


def test_letters_that_the_font_lacks_become_question_marks() -> None:
    figure = sheet(2, ["お o", "two\nlines"])
    assert {"? o", "two lines"} <= set(told(figure))
    style.to_png(figure)


def test_long_titles_are_wrapped_and_long_words_clipped() -> None:
    figure = training_curves(history(2), title="word " * 60 + "W" * 99, subtitle="x" * 400)
    lines = draw(figure).figure.texts
    *words, long_word, subtitle = [line.get_text() for line in lines]
    assert " ".join(words).split() == ["word"] * 60
    assert long_word.endswith("WW…")
    assert subtitle.endswith("xx…")
    assert max(line.get_window_extent().x1 for line in lines) <= figure.bbox.width


def test_disagreements_say_who_is_right() -> None:
    def texts(second: int) -> list[str]:
        figure = gallery.disagreements(
            images(2, (8, 8, 1)),
            np.array([0, 2]),
            (np.array([0, 1]), np.array([2, second])),
            (np.array([0.75, 0.6]), np.array([0.999, 0.5])),
            ["cat", "dog", "cow"],
            title=TITLE,
            subtitle=SUBTITLE,
        )
        return told(figure)

    both = texts(second=0)
    assert {"A \u2713 cat (75%)", "B \u2717 cow (99.9%)", "A \u2717 dog (60%)", "B \u2717 cat (50%)"} <= set(
        both
    )
    assert [text for text in both if text.startswith("it is")] == ["it is cow"]
    assert "B \u2713 cow (50%)" in texts(second=2)
    assert not [text for text in texts(second=2) if text.startswith("it is")]


def test_predictions_say_what_an_image_is_taken_for() -> None:
    def texts(actual: int | None) -> list[str]:
        shares = np.array([[0.7, 0.25, 0.05, 0]])
        names = ["cat", "dog", "cow", "hen"]
        return told(
            predictions_plots.predictions(
                images(1, (8, 8, 1)), ["a.png"], shares, [actual], names, title=TITLE, subtitle=SUBTITLE
            )
        )

    for actual, head in ((None, "cat (70%)"), (0, "\u2713 cat (70%)"), (2, "\u2717 cat (70%), it is cow")):
        found = texts(actual)
        assert f"a.png\n{head}" in found
        assert {"cat", "dog", "cow", "hen", "70%", "25%", "5%", "probability (%)"} <= set(found)
        assert "0%" not in found


def test_among_many_classes_the_actual_one_is_always_drawn() -> None:
    names = [f"class {index}" for index in range(30)]
    shares = np.linspace(1, 2, 30)[np.newaxis] / np.linspace(1, 2, 30).sum()

    def drawn_classes(actual: int | None) -> set[str]:
        figure = predictions_plots.predictions(
            images(1, (8, 8, 1)), ["a.png"], shares, [actual], names, title=TITLE, subtitle=SUBTITLE
        )
        return set(names) & set(told(figure))

    assert drawn_classes(None) == set(names[20:])
    assert drawn_classes(25) == set(names[20:])
    assert drawn_classes(3) == {*names[21:], names[3]}


@pytest.mark.parametrize(
    "call",
    [
        lambda: curves({}),
        lambda: curves({"epoch": np.arange(3.0), "train_loss": np.arange(2.0)}),
        lambda: step_losses(np.arange(3), np.arange(2.0), title=TITLE, subtitle=SUBTITLE),
        lambda: confusion_plots.confusion(np.eye(3, dtype=np.int64), ["a"], title=TITLE, subtitle=SUBTITLE),
        lambda: curves_plots.roc({}, title=TITLE, subtitle=SUBTITLE),
        lambda: weights(3, (2, 2, 2)),
        lambda: first_layer_weights(np.zeros((5, 3)), (2, 2, 1), title=TITLE, subtitle=SUBTITLE),
        lambda: first_layer_weights(
            np.zeros((4, 3)), (2, 2, 1), title=TITLE, subtitle=SUBTITLE, before=np.zeros((4, 2))
        ),
        lambda: sheet(3, THINGS, (4, 4, 2)),
        lambda: gallery.contact_sheet(
            images(2, (4, 4, 1)), np.array([0, 9]), ["a"], title=TITLE, subtitle=SUBTITLE
        ),
        lambda: gallery.contact_sheet(
            images(2, (4, 4, 1)) / 255, np.array([0, 0]), ["a"], title=TITLE, subtitle=SUBTITLE
        ),
        lambda: searches.grid_heat_maps({"a": ["1"]}, np.zeros(2), title=TITLE, subtitle=SUBTITLE),
        lambda: predictions(0, DIGITS),
        lambda: predictions_plots.predictions(
            images(2, (4, 4, 1)),
            ["a"],
            np.ones((2, 3)),
            [0, 1],
            ["a", "b", "c"],
            title=TITLE,
            subtitle=SUBTITLE,
        ),
        lambda: predictions_plots.predictions(
            images(1, (4, 4, 1)), ["a"], np.ones((1, 3)), [3], ["a", "b", "c"], title=TITLE, subtitle=SUBTITLE
        ),
        lambda: searches.search_axes(searched(5, 2)[0], np.ones(4), title=TITLE, subtitle=SUBTITLE),
        lambda: searches.parallel_coordinates([], np.ones(4), title=TITLE, subtitle=SUBTITLE),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call: Callable[[], Figure]) -> None:
    with pytest.raises(ValueError, match=r"fit|shapes|long|curve|needed|before|class names"):
        call()


@pytest.mark.parametrize(("worst", "told"), [(0.508, ""), (0.1, "1 below ")])
def test_only_trials_that_are_off_the_scale_are_told_of(worst: float, told: str) -> None:
    axes, _ = searched(45, 3)
    scores = np.linspace(0.522, 0.569, 45)
    scores[7] = worst
    figure = searches.search_axes(axes, scores, title=TITLE, subtitle=SUBTITLE)
    title = figure.axes[0].get_title("left")
    assert title.startswith(told)
    assert bool(title) == bool(told)


@pytest.mark.parametrize(
    "names",
    [
        ["お", "き", "す"],
        ["a" * 30 + str(number) for number in range(256)],
        ["a", "a ", "0 a"],
        ["zero", "お"],
    ],
)
def test_labels_of_classes_stay_distinct(names: list[str]) -> None:
    labels = page.distinct_labels(names, 14)
    assert len(set(labels)) == len(names)
    assert max(map(len, labels)) <= 14
    assert page.distinct_labels(["zero", "one"], 14) == ["zero", "one"]


@style.with_style
def test_a_page_is_drawn_pixel_for_pixel() -> None:
    figure, pixels, top = page.new_page("title", "subtitle", (37, 23))
    pixels[top:] = np.random.default_rng(0).integers(0, 256, pixels[top:].shape)
    page.draw_page(figure, pixels)
    drawn = np.asarray(Image.open(io.BytesIO(style.to_png(page.finish_layout(figure)))))
    np.testing.assert_array_equal(drawn[top:], pixels[top:])
    assert (drawn[:top] != 255).any()  # the title, before it
