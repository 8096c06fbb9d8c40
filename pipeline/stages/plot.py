"""plot: draw an experiment's pictures into its plots folder, and gather what the page shows of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.config.schema import Config
from pipeline.config.space import Axis, Range
from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError
from pipeline.core.files import contracts, images
from pipeline.core.files.arrays import read_arrays
from pipeline.core.files.atomic import atomic_write
from pipeline.core.files.tables import read_csv, write_json
from pipeline.core.progress import say
from pipeline.nn.arrays import Floats
from pipeline.nn.setup import initial_parameters, network_of
from pipeline.report import metrics
from pipeline.report.page.experiment import describe_experiment
from pipeline.report.plots import confusion, curves, gallery, searches, style, weights
from pipeline.report.plots.page import missing_glyphs
from pipeline.search import strategies, table
from pipeline.stages.shared.context import ExperimentContext
from pipeline.stages.shared.parts import read_statistics
from pipeline.stages.shared.trained import read_trials, trained_config, trained_parameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MISTAKES: Final = 40
_MOST_AXES_OF_A_MAP: Final = 2


def inputs(context: ExperimentContext) -> list[Path]:
    """What the stage reads."""
    results = context.results
    return [
        context.parsed,
        results.split,
        results.parameters,
        results.history,
        results.steps,
        results.trials,
        results.probabilities,
    ]


def run(context: ExperimentContext) -> None:
    """Write one PNG per picture, and page.json.

    Raises:
        PipelineError: an input is missing or damaged.
    """
    say_missing_glyphs(context.config.classes)
    names = []
    for name, figure in _figures(context):
        with atomic_write(context.results.plots / f"{name}.png") as stream:
            style.save(figure, stream)
        names.append(name)
    _write_page(context)
    say(f"{context.config.name}: {', '.join(names)}")


def say_missing_glyphs(classes: Sequence[str]) -> None:
    """Say which class names the pictures cannot show in full, in one line; nothing where they can."""
    found = missing_glyphs(classes)
    if found:
        say(
            f"the pictures' font lacks letters of {len(found)} of {len(classes)} class names, which are shown"
            f" as question marks: {shorten(', '.join(found))}"
        )


def _figures(context: ExperimentContext) -> Iterator[tuple[str, "Figure"]]:
    config, results = context.config, context.results
    title, subtitle = config.name, config.title
    remedy = f"train it again: dvc repro --force --single-item train@{config.name}"
    # Everything is read and checked before the first picture is drawn.
    columns = contracts.numbers(read_csv(results.history), contracts.HISTORY, results.history, remedy)
    steps = contracts.numbers(read_csv(results.steps), contracts.STEPS, results.steps, remedy)
    trained = trained_config(config, results)
    parameters = trained_parameters(trained, results)
    projection = read_statistics(results.split, config).projection
    arrays, tested = _read_probabilities(context)
    tried = read_trials(config, results) if strategies.is_search(config.search) else []
    yield "training_curves", curves.training_curves(columns, title=title, subtitle=subtitle)
    yield (
        "step_losses",
        curves.step_losses(
            steps["step"].astype(np.int64) + 1,
            steps["loss"],
            title=title,
            subtitle=subtitle,
        ),
    )
    yield "first_layer_weights", _weights(trained, parameters, projection, title, subtitle)
    yield from _test_figures(config, arrays, tested.images)
    if tried:
        yield from _search_figures(config, tried, title, subtitle)


def _write_page(context: ExperimentContext) -> None:
    config, results = context.config, context.results
    trained = trained_config(config, results)
    remedy = f"train it again: dvc repro --force --single-item train@{config.name}"
    arrays, tested = _read_probabilities(context)
    shown = describe_experiment(
        trained,
        contracts.numbers(read_csv(results.history), contracts.HISTORY, results.history, remedy),
        network_of(trained).views(trained_parameters(trained, results)),
        read_statistics(results.split, config),
        arrays,
        tested.images,
        read_trials(config, results) if strategies.is_search(config.search) else [],
    )
    write_json(results.page, asdict(shown))


def _weights(
    trained: Config, parameters: Floats, projection: Floats | None, title: str, subtitle: str
) -> "Figure":
    """The first layer's weights, as they act on pixels where the network sees a projection of these."""
    height, width, channels = trained.dataset.image_shape
    network = network_of(trained)
    after, before = (
        weight if projection is None else projection @ weight
        for weight in (network.views(flat)["W1"] for flat in (parameters, initial_parameters(trained)))
    )
    return weights.first_layer_weights(
        after, (height, width, channels), title=title, subtitle=subtitle, before=before
    )


def _read_probabilities(context: ExperimentContext) -> tuple[dict[str, images.Array], images.LabelledImages]:
    """probabilities.npz, and the images that it is about."""
    config, results = context.config, context.results
    arrays = read_arrays(results.probabilities)
    tested = images.load(context.parsed, "test", config.dataset.image_shape, len(config.classes))
    rules = contracts.probabilities_rules(len(config.classes), len(tested))
    remedy = f"make it again: dvc repro --force --single-item evaluate@{config.name}"
    contracts.check(arrays, rules, results.probabilities, remedy)
    if not np.array_equal(arrays["labels"], tested.labels[arrays["images"]]):
        raise FormatError(
            f"{results.probabilities}: labels: found others than {context.parsed} has; {remedy}"
        )
    return arrays, tested


def _test_figures(
    config: Config, arrays: Mapping[str, images.Array], tested: images.Array
) -> Iterator[tuple[str, "Figure"]]:
    title, subtitle = config.name, f"{config.title}, test part"
    probabilities, labels = arrays["probabilities"], arrays["labels"]
    predicted = probabilities.argmax(axis=1)
    matrix = metrics.confusion_matrix(labels, predicted, len(config.classes))
    yield "confusion_matrix", confusion.confusion(matrix, config.classes, title=title, subtitle=subtitle)
    bins = metrics.calibration_bins(probabilities.max(axis=1), predicted == labels)
    yield "calibration", curves.reliability(bins, title=title, subtitle=subtitle)
    roc_curves = {"all classes": metrics.micro_average_roc_curve(probabilities, labels)}
    for index, name in enumerate(config.classes):
        roc_curves[name] = metrics.roc_curve(probabilities[:, index], labels == index)
    areas = {name: metrics.roc_area(curve) for name, curve in roc_curves.items()}
    yield "roc", curves.roc(roc_curves, title=title, subtitle=subtitle, areas=areas)
    worst = metrics.worst_mistakes(probabilities, labels, _MISTAKES)
    yield (
        "mistakes",
        gallery.mistakes(
            tested[arrays["images"][worst]],
            labels[worst],
            predicted[worst],
            probabilities[worst, predicted[worst]],
            probabilities[worst, labels[worst]],
            config.classes,
            title=title,
            subtitle=subtitle,
        ),
    )


def _search_figures(
    config: Config, tried: Sequence[table.Tried], title: str, subtitle: str
) -> Iterator[tuple[str, "Figure"]]:
    scores = np.array([each.outcome.valid_accuracy for each in tried])
    lists = {name: values for name, values in config.search.axes().items() if isinstance(values, list)}
    if config.search.name == "grid" and len(lists) == len(config.search.axes()):
        labels = {name: [_label(value) for value in values] for name, values in lists.items()}
        shaped = scores.reshape([len(values) for values in labels.values()])
        yield "search", searches.grid_heat_maps(labels, shaped, title=title, subtitle=subtitle)
    axes = [
        _search_axis(name, axis, [each.trial.values[name] for each in tried])
        for name, axis in config.search.axes().items()
        if not isinstance(axis, list) or len(axis) > 1
    ]
    yield "search_axes", searches.search_axes(axes, scores, title=title, subtitle=subtitle)
    if len(axes) > _MOST_AXES_OF_A_MAP:
        yield "search_parallel", searches.parallel_coordinates(axes, scores, title=title, subtitle=subtitle)


def _search_axis(name: str, axis: Axis, values: Sequence[Any]) -> searches.SearchAxis:
    """An axis as the pictures want it: numbers by their size, anything else by its place in the list."""
    if isinstance(axis, Range):
        return searches.SearchAxis(name, np.array(values, dtype=np.float64), log=axis.log)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis)
    if numbers and len(set(axis)) > 1 and np.isfinite(axis).all():
        low, high = min(axis), max(axis)
        log = low > 0 and high / low >= style.LOG_RATIO
        return searches.SearchAxis(name, np.array(values, dtype=np.float64), log=log)
    places = np.array([axis.index(value) for value in values], dtype=np.float64)
    return searches.SearchAxis(name, places, labels=[_label(value) for value in axis])


def _label(value: object) -> str:
    if isinstance(value, list):
        return "-".join(_label(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
