"""predict: classify images of a data set, or image files, with trained parameters."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.paths import Layout, shown_path

if TYPE_CHECKING:
    from pipeline.commands.shared.models import Data, Model
    from pipeline.core.files.images import LabelledImages
    from pipeline.nn.arrays import Floats, Pixels

EXAMPLE = "predict --parameters outputs/mnist_two_layer/parameters.pkl --index 6"

_MOST_BARS = 10
_MOST_PROFILED = 20
_SKETCH_COLUMNS = 72


@dataclass(frozen=True)
class Subject:
    """An image to classify.

    Attributes:
        name: what to call it.
        image: uint8 (height, width, channels).
        actual: its class, if known.
        index: its place in the data set; None for a file.
    """

    name: str
    image: "Pixels"
    actual: int | None = None
    index: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Classify images of a data set (--index), or image files of any size (--image), with trained"
        " parameters. With neither, on a terminal, it asks for an index again and again, until an empty line."
        " Files are made into images of the data set first: for a grey one the ink, dark on light or light on"
        " dark, is scaled to a box of 20 in 28 pixels and its centre of mass put to the middle, as in MNIST;"
        " for a colour one the whole picture is resized."
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--parameters", metavar="FILE.pkl", type=Path, help="a parameter pickle, ours or anybody's"
    )
    which.add_argument(
        "--experiment",
        metavar="NAME",
        help="the parameters in outputs/NAME (default: the first experiment of params.yaml that is trained)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--index",
        metavar="I",
        type=int,
        nargs="+",
        help="images of the part, as their place in the file, from 0",
    )
    what.add_argument("--image", metavar="PATH", type=Path, nargs="+", help="image files, or folders of them")
    parser.add_argument(
        "--part", default="test", choices=("train", "test"), help="test (the default) or train"
    )
    parser.add_argument(
        "--dataset", metavar="NAME", help="a name from conf/dataset/ (default: the pickle's own)"
    )
    parser.add_argument(
        "--source", help="bundled, official or local (default: the pickle's own, else bundled)"
    )
    parser.add_argument(
        "--activation",
        metavar="NAME",
        help="of the hidden layers (default: from config.yaml beside the pickle)",
    )
    parser.add_argument(
        "--preprocess",
        metavar="NAME",
        help="unit, none, mean_image or standardize (default: from config.yaml beside the pickle, else unit)",
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw images and probabilities into FILE.png"
    )
    parser.add_argument("--json", action="store_true", help="print all probabilities as JSON")


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print what the images are taken for, and how surely.

    Raises:
        UsageError: nothing to classify is given and there is no terminal to ask on, or an option is wrong.
        PipelineError: the parameters, an image or the data set cannot be read, or they do not fit together.
    """
    from pipeline.commands.shared.models import choose_data, default_parameters, prepare, read_pickle
    from pipeline.commands.shared.terminal import check_picture

    asking = options.index is None and options.image is None
    if asking and (options.json or options.picture is not None):
        raise UsageError("--json and --picture go with --index or --image")
    if asking and not sys.stdin.isatty():
        raise UsageError(
            "nothing to classify: give --index I … or --image FILE … (it asks only on a terminal)"
        )
    path = options.parameters or default_parameters(layout, options.experiment)
    check_picture(options.picture, [path, *(options.image or ())])
    pickled = read_pickle(path)
    data = choose_data(layout, [pickled], options.dataset, options.source)
    model = prepare(pickled, data, options.activation, options.preprocess)
    classify = _classifier(model)
    if asking:
        _ask(model, data, options.part, classify)
        return
    if options.image is not None:
        subjects = _of_files(options.image, data, options.picture)
    else:
        part = data.images(options.part)
        subjects = [_of_index(index, part, options.part, data) for index in options.index]
    probabilities = classify(subjects)
    if options.picture is not None:
        _draw(options.picture, model, data, subjects, probabilities)
    if options.json:
        _print_json(model, data, options, subjects, probabilities)
        return
    _print_head(model, data.title if options.image is None else f"files, as images of {data.dataset.name}")
    if len(subjects) == 1:
        _print_one(subjects[0], probabilities[0], data.classes)
    else:
        _print_many(subjects, probabilities, data.classes)
    if options.picture is not None:
        from pipeline.commands.shared.terminal import write

        write()
        write(f"drawn into {options.picture}")


# What to classify


def _of_files(paths: Sequence[Path], data: "Data", picture: Path | None) -> list[Subject]:
    from pipeline.commands.shared import normalise
    from pipeline.commands.shared.terminal import check_picture
    from pipeline.core.descriptions import shorten
    from pipeline.data import pictures

    files = pictures.find(list(paths))
    check_picture(picture, files)
    subjects = []
    with pictures.decoder() as decoder:
        for file in files:
            levels = decoder.read(file)
            try:
                image = normalise.as_stored(levels, data.image_shape)
            except PipelineError as error:
                raise PipelineError(f"{file}: {error}") from None
            subjects.append(Subject(shorten(str(file), 1000), image))
    return subjects


def _of_index(index: int, part: "LabelledImages", name: str, data: "Data") -> Subject:
    if not 0 <= index < len(part):
        raise UsageError(f"index {index}: the {name} part of {data.title} has images 0 to {len(part) - 1}")
    return Subject(f"{name} image {index}", part.images[index], int(part.labels[index]), index)


def _classifier(model: "Model") -> Callable[[Sequence[Subject]], "Floats"]:
    """What gives the class probabilities (subjects, classes) of subjects."""
    import numpy as np

    from pipeline.nn.evaluation import Evaluator
    from pipeline.nn.examples import Examples

    evaluator = Evaluator(model.network, "cross_entropy", model.statistics)

    def classify(subjects: Sequence[Subject]) -> "Floats":
        count = len(subjects)
        pixels = np.stack([subject.image.ravel() for subject in subjects])
        examples = Examples(pixels, np.zeros(count, np.int64), np.arange(count))
        with np.errstate(all="ignore"):
            probabilities = evaluator.probabilities(model.parameters, examples)
        if not np.isfinite(probabilities).all():
            raise PipelineError(f"{model.path}: what it puts out for these images is not finite")
        return probabilities

    return classify


def _ask(model: "Model", data: "Data", name: str, classify: Callable[[Sequence[Subject]], "Floats"]) -> None:
    """Classify images one by one, by indices typed in, until an empty line or the end of the input."""
    from pipeline.commands.shared.terminal import write, write_lines

    part = data.images(name)  # type: ignore[arg-type]  # argparse has checked it
    _print_head(model, data.title)
    write(f"index of a {name} image, 0 to {len(part) - 1}; an empty line ends")
    asked = right = 0
    while text := _line("> "):
        try:
            subject = _of_index(int(text), part, name, data)
        except ValueError:
            write(f"{text!r} is no whole number")
            continue
        except UsageError as error:
            write_lines(str(error))
            continue
        probabilities = classify([subject])
        _print_one(subject, probabilities[0], data.classes)
        write()
        asked += 1
        right += int(probabilities[0].argmax()) == subject.actual
    if asked:
        write(f"{right} of {asked} right")


def _line(prompt: str) -> str:
    """What is typed; nothing at the end of the input."""
    try:
        return input(prompt).strip()
    except EOFError:
        sys.stdout.write("\n")
        return ""
    except UnicodeDecodeError:
        return "?"


# What is said


def _print_head(model: "Model", what: str) -> None:
    from pipeline.commands.shared.terminal import write

    write(f"{shown_path(model.path)} ({model.layers}) on {what}")


def _print_one(subject: Subject, probabilities: "Floats", classes: Sequence[str]) -> None:
    """A bar for every class, and beside them the image if it is grey."""
    import itertools

    from pipeline.commands.shared.terminal import bar, columns, has_blocks, percent, sketch, write

    blocks = has_blocks()
    order = list(range(len(classes)))
    if len(order) > _MOST_BARS:
        order = sorted(order, key=lambda one: -float(probabilities[one]))[:_MOST_BARS]
    predicted = int(probabilities.argmax())
    picture: list[str] = []
    if subject.image.shape[2] == 1 and columns() >= _SKETCH_COLUMNS:
        picture = sketch(subject.image[..., 0].tolist(), blocks=blocks)
    names = max(len(classes[one]) for one in order)
    beside = len(picture[0]) + 2 if picture else 0
    width = max(8, min(40, columns() - beside - names - 25))
    lines = []
    for one in order:
        marks = [
            word
            for word, true in (("predicted", one == predicted), ("actual", one == subject.actual))
            if true
        ]
        share = float(probabilities[one])
        drawn = bar(share, width, blocks=blocks).ljust(width)
        lines.append(f"{classes[one].rjust(names)}  {drawn} {percent(share):>8}  {', '.join(marks)}")
    write()
    above = max(0, (len(picture) - len(lines)) // 2)
    for left, right in itertools.zip_longest(picture, [""] * above + lines, fillvalue=""):
        write(f"{left.ljust(beside)}{right}".rstrip())
    write()
    write(
        f"{subject.name}: {_verdict(subject, predicted, classes, percent(float(probabilities[predicted])))}"
    )


def _verdict(subject: Subject, predicted: int, classes: Sequence[str], sure: str) -> str:
    head = f"predicted {classes[predicted]} ({sure})"
    if subject.actual is None:
        return head
    if subject.actual == predicted:
        return f"{head}, which is right"
    return f"{head}, but it is {classes[subject.actual]}"


def _print_many(subjects: Sequence[Subject], probabilities: "Floats", classes: Sequence[str]) -> None:
    """A line for every image."""
    import numpy as np

    from pipeline.commands.shared.terminal import has_blocks, percent, profile, table, write

    profiled = has_blocks() and len(classes) <= _MOST_PROFILED
    known = subjects[0].actual is not None
    short = all(len(name) == 1 for name in classes)
    rows = [
        [
            "image",
            "predicted",
            "",
            "then",
            "",
            *["actual"] * known,
            *["".join(classes) if short else ""] * profiled,
        ]
    ]
    for subject, shares in zip(subjects, probabilities, strict=True):
        first, second = np.argsort(-shares, kind="stable")[:2].tolist()
        row = [subject.name]
        for one in (first, second):
            row += [classes[one], percent(float(shares[one]))]
        if subject.actual is not None:
            row.append(classes[subject.actual] + ("" if subject.actual == first else "  wrong"))
        if profiled:
            row.append(profile(shares.tolist()))
        rows.append(row)
    write()
    for line in table(rows, left=(0, 1, 3, 5, 6)):
        write(line)
    if known:
        right = sum(
            int(shares.argmax()) == subject.actual
            for subject, shares in zip(subjects, probabilities, strict=True)
        )
        write()
        write(f"{right} of {len(subjects)} right")


def _print_json(
    model: "Model",
    data: "Data",
    options: argparse.Namespace,
    subjects: Sequence[Subject],
    probabilities: "Floats",
) -> None:
    from pipeline.commands.shared.terminal import write_json

    images: list[dict[str, Any]] = []
    for subject, shares in zip(subjects, probabilities, strict=True):
        images.append(
            {
                **(
                    {"file": subject.name}
                    if subject.index is None
                    else {"part": options.part, "index": subject.index}
                ),
                "predicted": data.classes[int(shares.argmax())],
                "actual": None if subject.actual is None else data.classes[subject.actual],
                "probabilities": dict(zip(data.classes, map(float, shares), strict=True)),
            }
        )
    report = {
        "parameters": shown_path(model.path),
        "dataset": data.dataset.name,
        "source": data.source,
        "images": images,
    }
    write_json(report)


def _draw(
    path: Path, model: "Model", data: "Data", subjects: Sequence[Subject], probabilities: "Floats"
) -> None:
    import numpy as np

    from pipeline.commands.shared.models import short_name
    from pipeline.commands.shared.terminal import save_picture
    from pipeline.report.plots import predictions

    figure = predictions.predictions(
        np.stack([subject.image for subject in subjects]),
        [Path(subject.name).name for subject in subjects],
        probabilities,
        [subject.actual for subject in subjects],
        data.classes,
        title=short_name(model.path),
        subtitle=data.title if subjects[0].index is not None else f"files, as images of {data.dataset.name}",
    )
    save_picture(path, figure, data.classes)
