"""predict: images of a data set, image files of every kind, and a session at a terminal."""

import io
import json
import os
import pickle
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipeline.core.files.tables import read_csv
from pipeline.core.paths import Layout
from tests.shared import with_palette

Array = npt.NDArray[Any]
Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parent.parent.parent
GIVEN = ("--parameters", "means.pkl", "--dataset", "tiny")


def images_and_labels(layout: Layout, part: str = "test") -> tuple[Array, Array]:
    folder = layout.parsed("bundled", "tiny") / part
    return np.load(folder / "images.npy")[..., 0], np.load(folder / "labels.npy")


@pytest.fixture
def means(parsed: Layout) -> Layout:
    """A linear classifier in the checkout, means.pkl: the nearest class mean, which is quick and decent."""
    images, labels = images_and_labels(parsed, "train")
    pixels = images.reshape(len(images), -1) / 255
    centres = np.stack([pixels[labels == digit].mean(axis=0) for digit in range(10)])
    parameters = {"W1": centres.T, "b1": -np.square(centres).sum(axis=1) / 2}
    (parsed.root / "means.pkl").write_bytes(pickle.dumps(parameters))
    return parsed


def expected(layout: Layout, image: Array) -> Array:
    """Probabilities of the classifier for an image as the data set stores it."""
    parameters = pickle.loads((layout.root / "means.pkl").read_bytes())  # noqa: S301  (written above)
    scores = image.reshape(-1).astype(np.float32) / np.float32(255) @ parameters["W1"] + parameters["b1"]
    shares = np.exp(scores - scores.max())
    return np.asarray(shares / shares.sum())


def probabilities(entry: dict[str, Any]) -> Array:
    assert list(entry["probabilities"]) == list("0123456789")
    return np.array(list(entry["probabilities"].values()))


# Images of the data set


def test_an_image_of_the_data_set(means: Layout, cli: Run) -> None:
    images, labels = images_and_labels(means)
    ended = cli("predict", *GIVEN, "--index", "6", "3", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert [entry["index"] for entry in found["images"]] == [6, 3]
    for entry in found["images"]:
        shares = expected(means, images[entry["index"]])
        np.testing.assert_allclose(probabilities(entry), shares, rtol=1e-9)
        assert (entry["part"], entry["actual"]) == ("test", str(labels[entry["index"]]))
        assert entry["predicted"] == str(shares.argmax())
    train = json.loads(cli("predict", *GIVEN, "--index", "6", "--part", "train", "--json").out)["images"][0]
    np.testing.assert_allclose(
        probabilities(train), expected(means, images_and_labels(means, "train")[0][6]), rtol=1e-9
    )


def test_the_classifier_is_right_more_often_than_not(means: Layout, cli: Run) -> None:
    ended = cli("predict", *GIVEN, "--index", *map(str, range(100)))
    *_, last = ended.out.splitlines()
    assert int(last.removesuffix(" of 100 right")) > 60
    del means


def test_ten_bars_the_prediction_and_the_truth(means: Layout, cli: Run) -> None:
    images, labels = images_and_labels(means)
    shares = [expected(means, image) for image in images]
    right = next(index for index, share in enumerate(shares) if share.argmax() == labels[index])
    wrong = next(index for index, share in enumerate(shares) if share.argmax() != labels[index])
    lines = cli("predict", *GIVEN, "--index", str(right)).out.splitlines()
    assert lines[0] == "means.pkl (784-10) on a few drawn digits (not MNIST)"
    (marked,) = [line for line in lines if line.endswith("predicted, actual")]
    assert f"{100 * shares[right].max():.2f} %" in marked
    assert marked.split("  predicted")[0].count("█") >= 1
    assert sum(" %" in line for line in lines[:-1]) == 10
    assert lines[-1].startswith(f"test image {right}: predicted {labels[right]} (")
    assert lines[-1].endswith(", which is right")

    lines = cli("predict", *GIVEN, "--index", str(wrong)).out.splitlines()
    assert [line.split()[-1] for line in lines if line.endswith(("predicted", "actual"))] != []
    assert lines[-1].endswith(f", but it is {labels[wrong]}")
    assert max(map(len, lines)) <= 80


def test_a_terminal_without_blocks_gets_ascii(
    means: Layout, cli: Run, python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = python(
        "-m",
        "pipeline",
        *("predict", *GIVEN, "--index", "6"),
        environment={"PYTHONIOENCODING": "ascii"},
        cwd=means.root,
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.isascii()
    assert "#" in ended.out
    monkeypatch.setenv("COLUMNS", "40")
    narrow = cli("predict", *GIVEN, "--index", "6").out.splitlines()
    assert sum(" %" in line for line in narrow[:-1]) == 10


def test_the_experiment_s_own_parameters(evaluated: Layout, cli: Run) -> None:
    rows = read_csv(evaluated.results("tiny").predictions)
    for arguments in (("--experiment", "tiny"), ()):
        ended = cli("predict", *arguments, "--index", "0", "1", "2", "--json")
        assert (ended.code, ended.err) == (0, "")
        assert json.loads(ended.out)["parameters"] == "outputs/tiny/parameters.pkl"
        found = json.loads(ended.out)["images"]
        assert [entry["predicted"] for entry in found] == [row["predicted"] for row in rows[:3]]
        assert [max(probabilities(entry)) for entry in found] == pytest.approx(
            [float(row["probability"]) for row in rows[:3]], rel=1e-6
        )
        assert found[1]["actual"] == rows[1]["actual"]


def test_images_and_bars_are_drawn(means: Layout, cli: Run) -> None:
    for indices in (["6"], ["1", "2", "3"]):
        ended = cli("predict", *GIVEN, "--index", *indices, "--picture", "deep/down/out.png")
        assert ended.out.splitlines()[-1] == "drawn into deep/down/out.png"
        with Image.open(means.root / "deep" / "down" / "out.png") as picture:
            assert picture.format == "PNG"
            assert len(set(np.asarray(picture).reshape(-1, 3)[:, 0].tolist())) > 10


# Image files


def large(image: Array, *, side: int = 300) -> Array:
    """The digit on a larger page, off the middle."""
    drawn = Image.fromarray(image).resize((140, 140), Image.Resampling.BICUBIC)
    page = np.zeros((side, side + 40), np.uint8)
    page[20:160, 90:230] = np.asarray(drawn)
    return page


def dark_on_light(page: Array) -> Image.Image:
    return Image.fromarray(255 - page)


def transparent(page: Array) -> Image.Image:
    """Black ink, and nothing where there is none."""
    return Image.merge("RGBA", (*[Image.new("L", page.shape[::-1], 0)] * 3, Image.fromarray(page)))


KINDS: dict[str, Callable[[Array], Image.Image]] = {
    "plain": Image.fromarray,
    "dark on light": dark_on_light,
    "RGB": lambda page: Image.fromarray(page).convert("RGB"),
    "RGBA": lambda page: Image.fromarray(page).convert("RGBA"),
    "transparent": transparent,
    "16 bits": lambda page: Image.fromarray(page.astype(np.uint16) * 257),
    "16 bits, dark on light": lambda page: Image.fromarray((255 - page).astype(np.uint16) * 257),
    "palette": with_palette,
    "moved": lambda page: Image.fromarray(np.roll(page, (100, -70), (0, 1))),
}


def test_a_file_of_every_kind_is_the_same_digit(means: Layout, cli: Run) -> None:
    page = large(images_and_labels(means)[0][8])
    files = [f"{kind}.png" for kind in KINDS]
    for kind, file in zip(KINDS, files, strict=True):
        KINDS[kind](page).save(means.root / file)
    two_tone = np.where(page > 127, 255, 0).astype(np.uint8)
    Image.fromarray(two_tone).save(means.root / "two tones.png")
    Image.fromarray(255 - two_tone).convert("1").save(means.root / "1 bit.png")
    ended = cli("predict", *GIVEN, "--image", *files, "two tones.png", "1 bit.png", "--json")
    assert (ended.code, ended.err) == (0, "")
    *found, two_tones, one_bit = json.loads(ended.out)["images"]
    assert [(entry["file"], entry["actual"]) for entry in found] == [(file, None) for file in files]
    for entry in found:
        np.testing.assert_array_equal(probabilities(entry), probabilities(found[0]), entry["file"])
    np.testing.assert_array_equal(probabilities(one_bit), probabilities(two_tones))


@pytest.mark.parametrize("inverted", [False, True])
def test_a_file_of_an_image_of_the_data_set_is_that_image(means: Layout, cli: Run, *, inverted: bool) -> None:
    images, _ = images_and_labels(means)
    indices = [str(index) for index in range(12)]
    for index in indices:
        image = images[int(index)]
        Image.fromarray(255 - image if inverted else image).save(means.root / f"{int(index):02}.png")
    files = json.loads(
        cli("predict", *GIVEN, "--image", *[f"{int(index):02}.png" for index in indices], "--json").out
    )
    numbers = json.loads(cli("predict", *GIVEN, "--index", *indices, "--json").out)
    for file, number in zip(files["images"], numbers["images"], strict=True):
        np.testing.assert_array_equal(probabilities(file), probabilities(number))


def test_enlarged_digits_are_recognised_as_often(means: Layout, cli: Run) -> None:
    images, labels = images_and_labels(means)
    (means.root / "folder").mkdir()
    for index in range(40):
        dark_on_light(large(images[index])).save(means.root / "folder" / f"{index:02}.jpg", quality=85)
    (means.root / "folder" / "notes.txt").write_text("not an image")
    found = json.loads(cli("predict", *GIVEN, "--image", "folder", "--json").out)["images"]
    assert [entry["file"] for entry in found] == [f"folder/{index:02}.jpg" for index in range(40)]
    by_file = sum(entry["predicted"] == str(label) for entry, label in zip(found, labels, strict=False))
    by_index = sum(
        expected(means, image).argmax() == label for image, label in zip(images[:40], labels, strict=False)
    )
    assert abs(by_file - by_index) <= 6
    assert by_file > 20


def test_many_files_are_listed_a_line_each(means: Layout, cli: Run) -> None:
    images, _ = images_and_labels(means)
    for name in ("one", "two"):
        Image.fromarray(large(images[1])).save(means.root / f"{name}.png")
    lines = cli("predict", *GIVEN, "--image", "one.png", "two.png").out.splitlines()
    assert lines[0] == "means.pkl (784-10) on files, as images of tiny"
    assert [line.split()[0] for line in lines[2:]] == ["image", "one.png", "two.png"]
    assert "actual" not in lines[2]
    assert lines[3].split()[1:] == lines[4].split()[1:]
    predicted, sure = lines[3].split()[1:3]
    single = cli("predict", *GIVEN, "--image", "one.png").out.splitlines()
    assert single[-1] == f"one.png: predicted {predicted} ({sure} %)"
    assert "actual" not in "".join(single)


def test_files_need_no_data_but_the_definition(means: Layout, cli: Run) -> None:
    images, _ = images_and_labels(means)
    Image.fromarray(images[1]).save(means.root / "one.png")
    ended = cli("predict", "--parameters", "means.pkl", "--dataset", "mnist", "--image", "one.png")
    assert (ended.code, ended.err) == (0, "")
    ended = cli("predict", "--parameters", "means.pkl", "--dataset", "mnist", "--index", "1")
    assert ended.code == 1
    assert "data/parsed/bundled/mnist is missing" in ended.err


# Sessions


class Typed(io.StringIO):
    """A terminal at which this was typed."""

    def isatty(self) -> bool:
        return True


def test_a_session_asks_until_an_empty_line(means: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = images_and_labels(means)
    monkeypatch.setattr(sys, "stdin", Typed("6\nseven\n 100\n-1\n3\n\n8\n"))
    ended = cli("predict", *GIVEN)
    assert (ended.code, ended.err) == (0, "")
    verdicts = [line for line in ended.out.splitlines() if ": predicted" in line]
    assert [line.split(":")[0] for line in verdicts] == ["test image 6", "test image 3"]
    assert "index of a test image, 0 to 99; an empty line ends" in ended.out
    assert "'seven' is no whole number" in ended.out
    assert "index 100: the test part of a few drawn digits (not MNIST) has images 0 to 99" in ended.out
    assert "index -1: the test part" in ended.out
    right = sum(expected(means, images[index]).argmax() == labels[index] for index in (6, 3))
    assert ended.out.splitlines()[-1] == f"> {right} of 2 right"
    assert sys.stdin.read() == "8\n"


def test_a_session_ends_with_the_input(means: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Typed(""))
    ended = cli("predict", *GIVEN)
    assert (ended.code, ended.err) == (0, "")
    assert "right" not in ended.out
    assert ended.out.endswith("> \n")
    del means


def test_a_session_at_a_real_terminal(evaluated: Layout) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "predict"],
        cwd=evaluated.root,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        os.write(ours, b"1\nx\n2\n\n")
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not piece:
                break
            shown += piece
        assert process.wait() == 0
    os.close(ours)
    text = shown.decode()
    assert "outputs/tiny/parameters.pkl (784-8-10) on a few drawn digits (not MNIST)" in text
    assert text.index("test image 1: predicted") < text.index("'x' is no whole number")
    assert text.index("'x' is no whole number") < text.index("test image 2: predicted")
    assert "of 2 right" in text


# What cannot be predicted


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (GIVEN, 2, "nothing to classify: give --index I … or --image FILE …"),
        ((*GIVEN, "--json"), 2, "--json and --picture go with --index or --image"),
        ((*GIVEN, "--picture", "out.png"), 2, "--json and --picture go with --index or --image"),
        (
            (*GIVEN, "--index", "100"),
            2,
            "index 100: the test part of a few drawn digits (not MNIST) has images 0 to",
        ),
        ((*GIVEN, "--index", "3", "-1"), 2, "index -1: the test part"),
        (
            (*GIVEN, "--index", "1", "--picture", "out.gif"),
            2,
            "--picture out.gif: the picture is written as PNG",
        ),
        (
            (*GIVEN, "--image", "page.png", "--picture", "page.png"),
            2,
            "--picture page.png: that is one of the files",
        ),
        (
            (*GIVEN, "--image", ".", "--picture", "page.png"),
            2,
            "--picture page.png: that is one of the files",
        ),
        ((*GIVEN, "--image", "none.png"), 1, "cannot read none.png: No such file or directory"),
        (
            (*GIVEN, "--image", "page.png", "notes.png"),
            1,
            "notes.png: expected an image (PNG, JPEG, GIF, BMP",
        ),
        ((*GIVEN, "--image", "blank.png"), 1, "blank.png: nothing to see"),
        ((*GIVEN, "--image", "data"), 1, "data: no image in this folder"),
        ((*GIVEN, "--image", "means.pkl"), 1, "means.pkl: expected an image"),
        (
            ("--index", "1"),
            2,
            "no experiment is trained yet: name a pickle with --parameters, or run dvc repro",
        ),
        (
            ("--experiment", "tiny", "--index", "1"),
            2,
            "--experiment tiny: outputs/tiny/parameters.pkl is missing; tr",
        ),
        (
            ("--experiment", "huge", "--index", "1"),
            2,
            "--experiment huge: outputs/huge/parameters.pkl is missing; kn",
        ),
        (("--parameters", "none.pkl", "--index", "1"), 1, "cannot read none.pkl: No such file or directory"),
        (("--parameters", "page.png", "--index", "1"), 1, "page.png: "),
        (
            ("--parameters", "means.pkl", "--index", "1"),
            2,
            "means.pkl: no config.yaml lies beside it; say which data",
        ),
        (
            ("--parameters", "means.pkl", "--dataset", "cifar10", "--index", "1"),
            1,
            "means.pkl: 784 inputs and 10 cla",
        ),
    ],
)
def test_a_mistake_is_told_in_a_line(
    means: Layout,
    cli: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("6\n"))
    Image.fromarray(large(images_and_labels(means)[0][8])).save(means.root / "page.png")
    Image.new("L", (30, 30), 200).save(means.root / "blank.png")
    broken = arguments[-1] == "notes.png"
    if broken:
        (means.root / "notes.png").write_text("not an image")
    if arguments[-3:-2] == (".",):
        (means.root / "blank.png").unlink()
    before = sorted(means.root.rglob("*"))
    ended = cli("predict", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith(f"pipeline: {told}")
    assert ended.err.count("\n") == 1
    assert sorted(means.root.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--index", "six"),
        ("--index", "6", "--image", "page.png"),
        ("--parameters", "means.pkl", "--experiment", "tiny"),
        ("--part", "valid"),
        ("--image",),
    ],
)
def test_bad_usage_ends_with_2(means: Layout, cli: Run, arguments: tuple[str, ...]) -> None:
    ended = cli("predict", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "usage: pipeline predict" in ended.err
    del means


def test_outputs_that_are_not_finite_are_told(means: Layout, cli: Run) -> None:
    (means.root / "means.pkl").write_bytes(
        pickle.dumps({"W1": np.full((784, 10), 1e308), "b1": np.zeros(10)})
    )
    ended = cli("predict", *GIVEN, "--index", "1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "pipeline: means.pkl: what it puts out for these images is not finite\n"
