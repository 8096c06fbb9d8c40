"""compare: compare two parameter pickles on the same images."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.paths import Layout
from pipeline.core.registry import check_name

if TYPE_CHECKING:
    from pipeline.commands.shared.models import Data, Model
    from pipeline.core.files.images import LabelledImages
    from pipeline.nn.arrays import Floats
    from pipeline.nn.examples import Examples
    from pipeline.report.comparison import Comparison

EXAMPLE = "compare outputs/mnist_two_layer/parameters.pkl theirs.pkl --dataset mnist --activation ,sigmoid"

_MOST_SHOWN = 40
_RARE = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Accuracy and loss of two parameter pickles on the same images, McNemar's test of the difference, and"
        " the images on which they disagree. A pickle is a dict of arrays W1, b1, W2, b2 …, ours or"
        " anybody's; layer sizes are read off the shapes. What else is needed comes from the config.yaml and"
        " split.npz beside a pickle of ours, and from the options for any other. NAME[,NAME] is one name for"
        " both or one for each; an empty one leaves that pickle's own. Two revisions of the experiments are"
        " compared by `pipeline diff`."
    )
    parser.add_argument("first", metavar="A.pkl", type=Path, help="a parameter pickle")
    parser.add_argument("second", metavar="B.pkl", type=Path, help="another")
    parser.add_argument(
        "--dataset", metavar="NAME", help="a name from conf/dataset/ (default: the pickles' own)"
    )
    parser.add_argument(
        "--source", help="bundled, official or local (default: the pickles' own, else bundled)"
    )
    parser.add_argument(
        "--part", default="test", choices=("train", "test"), help="test (the default) or train"
    )
    parser.add_argument(
        "--activation",
        default="",
        metavar="NAME[,NAME]",
        help="of the hidden layers: identity, sigmoid, tanh, relu or leaky_relu",
    )
    parser.add_argument(
        "--preprocess",
        default="",
        metavar="NAME[,NAME]",
        help="unit (the default of a pickle without config.yaml), none, mean_image or standardize; the last"
        " two learn from all train images where no split.npz has what they learnt",
    )
    parser.add_argument(
        "--loss",
        metavar="NAME",
        help="which loss to show (default: that of the pickles if they agree, else cross_entropy)",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.png",
        help="draw the images on which they disagree into FILE.png",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print the comparison, and draw the disagreements if asked to.

    Raises:
        UsageError: something that is needed is neither given nor beside the pickles.
        PipelineError: a pickle or the data set cannot be read, or they do not fit together.
    """
    import numpy as np

    from pipeline.commands.shared.models import choose_data, prepare, read_pickle
    from pipeline.commands.shared.terminal import check_picture, write_json
    from pipeline.nn.evaluation import Evaluation
    from pipeline.nn.examples import Examples
    from pipeline.nn.losses import LOSSES
    from pipeline.report.comparison import compare
    from pipeline.stages.shared.parts import flat_pixels

    check_picture(options.picture, [options.first, options.second])
    activations = _pair("--activation", options.activation)
    preprocesses = _pair("--preprocess", options.preprocess)
    if options.loss is not None:
        check_name(LOSSES, "--loss", options.loss)
    pickles = [read_pickle(path) for path in (options.first, options.second)]
    data = choose_data(layout, pickles, options.dataset, options.source)
    models = [
        prepare(pickled, data, activation, preprocess)
        for pickled, activation, preprocess in zip(pickles, activations, preprocesses, strict=True)
    ]
    part = data.images(options.part)
    labels = np.asarray(part.labels, dtype=np.int64)
    examples = Examples(flat_pixels(part.images), labels, np.arange(len(part)))
    known = {model.loss for model in models if model.loss is not None}
    loss = options.loss or (known.pop() if len(known) == 1 else "cross_entropy")
    (first, first_loss), (second, second_loss) = (_outputs(model, loss, examples) for model in models)
    found = compare(first, second, labels)
    measured = [
        Evaluation(first_loss, float(found.first_right.mean())),
        Evaluation(second_loss, float(found.second_right.mean())),
    ]
    report = _report(data, options.part, loss, models, measured, found)
    if options.picture is not None:
        _draw(options.picture, report, data, part, found, (first, second))
    if options.json:
        write_json(report)
    else:
        _print(report, options.picture)


def _pair(option: str, text: str) -> tuple[str | None, str | None]:
    """NAME or NAME,NAME as one for each pickle; None for an empty one."""
    names = text.split(",")
    if len(names) > 2:
        raise UsageError(f"{option} {text}: expected one name, or two with a comma between them")
    return names[0].strip() or None, names[-1].strip() or None


def _outputs(model: "Model", loss: str, examples: "Examples") -> tuple["Floats", float]:
    """Probabilities (images, classes) and mean loss."""
    import numpy as np

    from pipeline.nn.evaluation import Evaluator

    evaluator = Evaluator(model.network, loss, model.statistics)
    with np.errstate(all="ignore"):
        probabilities = evaluator.probabilities(model.parameters, examples)
        mean_loss = evaluator.evaluate(model.parameters, examples).loss
    if not (np.isfinite(probabilities).all() and np.isfinite(mean_loss)):
        raise PipelineError(f"{model.path}: what it puts out for these images is not finite")
    return probabilities, mean_loss


def _report(
    data: "Data", part: str, loss: str, models: list["Model"], measured: list[Any], found: "Comparison"
) -> dict[str, Any]:
    sides = {
        name: {
            "parameters": str(model.path),
            "layers": list(model.network.sizes),
            "activation": model.network.activation,
            "preprocess": model.preprocess,
            "accuracy": evaluation.accuracy,
            "loss": evaluation.loss,
        }
        for name, model, evaluation in zip("ab", models, measured, strict=True)
    }
    return {
        "dataset": data.dataset.name,
        "source": data.source,
        "title": data.title,
        "part": part,
        "images": len(found.first),
        "loss": loss,
        **sides,
        "difference": {
            "accuracy": measured[1].accuracy - measured[0].accuracy,
            "loss": measured[1].loss - measured[0].loss,
        },
        **found.table(),
        "disagreements": len(found.disagreements),
        "interval": [found.accuracy.low, found.accuracy.high],
        "mcnemar": {"test": "mid-p", "p_value": found.accuracy.p_value},
    }


def _print(report: dict[str, Any], picture: Path | None) -> None:
    from pipeline.commands.shared.terminal import percent, table, write, write_lines

    for name in "ab":
        write(f"{name.upper()} = {report[name]['parameters']}")
    write(f"on {report['title']}, {report['part']} part, {report['images']:,} images")
    write()
    rows = [["", "layers", "activation", "inputs", "accuracy", report["loss"]]]
    for name in "ab":
        side = report[name]
        layers = "-".join(map(str, side["layers"]))
        activation = side["activation"] if len(side["layers"]) > 2 else ""
        accuracy, loss = percent(side["accuracy"]), f"{side['loss']:.5f}"
        rows.append([name.upper(), layers, activation, side["preprocess"], accuracy, loss])
    difference = report["difference"]
    change = f"{100 * difference['accuracy']:+.2f}  "
    rows.append(["B - A", "", "", "", change, f"{difference['loss']:+.5f}"])
    for line in table(rows, left=(0, 1, 2, 3)):
        write(line)
    write()
    counts = [["recognised by both", "by A alone", "by B alone", "by neither", "different answers"]]
    keys = ("both_right", "only_a_right", "only_b_right", "both_wrong", "disagreements")
    counts.append([f"{report[key]:,}" for key in keys])
    for line in table(counts, left=()):
        write(line)
    write()
    write_lines(_verdict(report))
    if picture is not None:
        write(f"{picture}: {_describe_choice(report['disagreements'])}")


def _verdict(report: dict[str, Any]) -> str:
    p_value = report["mcnemar"]["p_value"]
    low, high = (100 * end for end in report["interval"])
    head = f"Accuracy B - A: 95 % interval {low:+.2f} to {high:+.2f}; McNemar's mid-p test: p = {p_value:.3g}"
    better = "B" if report["only_b_right"] > report["only_a_right"] else "A"
    if report["only_a_right"] == report["only_b_right"]:
        return f"{head}\nThey recognise equally many images."
    if p_value < _RARE:
        return f"{head}\n{better} is better: equally good ones would rarely differ as much by chance."
    return f"{head}\n{better} recognises more, but equally good ones may well differ as much by chance."


def _describe_choice(count: int) -> str:
    if count == 0:
        return "they agree on every image"
    if count <= _MOST_SHOWN:
        return f"the {'image' if count == 1 else f'{count} images'} on which they disagree"
    return f"the {_MOST_SHOWN} of {count:,} disagreements in which they are furthest apart"


def _draw(
    path: Path,
    report: dict[str, Any],
    data: "Data",
    part: "LabelledImages",
    found: "Comparison",
    probabilities: tuple["Floats", "Floats"],
) -> None:
    from pipeline.commands.shared.models import short_name
    from pipeline.commands.shared.terminal import save_picture
    from pipeline.report.plots import gallery

    shown = found.disagreements[:_MOST_SHOWN]
    predicted = (found.first[shown], found.second[shown])
    figure = gallery.disagreements(
        part.images[shown],
        part.labels[shown],
        predicted,
        (probabilities[0][shown, predicted[0]], probabilities[1][shown, predicted[1]]),
        data.classes,
        title=", ".join(f"{name.upper()} {short_name(Path(report[name]['parameters']))}" for name in "ab"),
        subtitle=f"{data.title}, {report['part']} part · {_describe_choice(len(found.disagreements))}",
    )
    save_picture(path, figure, data.classes)
