"""show: counts, pixel statistics, duplicates, a card and a contact sheet of a data set."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.paths import Layout
from pipeline.report.plots import gallery
from tests.shared import said

Run = Callable[..., Any]

PARTS = ("train", "test")
NAMES = ("images", "labels")
SHOW = ("show", "--dataset", "tiny")


def sections(text: str) -> list[list[list[str]]]:
    """The cells of each table, by lines; two spaces separate them."""
    return [
        [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in block.splitlines()]
        for block in text.split("\n\n")
    ]


def test_counts_and_statistics_are_those_of_the_arrays(parsed: Layout, cli: Run) -> None:
    folder = parsed.parsed("bundled", "tiny")
    labels = {part: np.load(folder / part / "labels.npy") for part in PARTS}
    ended = cli(*SHOW, "--source", "bundled")
    assert (ended.code, ended.err) == (0, "")
    (head,), classes, pixels, duplicates = sections(ended.out)
    assert head == ["a few drawn digits (not MNIST): 200 train and 100 test images of 28 × 28 grey pixels"]
    assert classes[0] == ["class", "train", "share", "test", "share"]
    counts = {part: np.bincount(labels[part], minlength=10) for part in PARTS}
    assert classes[1:] == [
        [str(digit)]
        + [
            cell
            for part in PARTS
            for cell in (str(counts[part][digit]), f"{100 * counts[part][digit] / len(labels[part]):.2f} %")
        ]
        for digit in range(10)
    ]
    assert pixels[0] == ["pixels", "lowest", "median", "mean", "highest", "deviation", "of 0", "of 255"]
    for part, line in zip(PARTS, pixels[1:], strict=False):
        images = np.load(folder / part / "images.npy")
        assert line == [
            f"{part} grey",
            str(images.min()),
            str(int(np.median(images))),
            f"{images.mean():.2f}",
            str(images.max()),
            f"{images.std():.2f}",
            f"{100 * (images == 0).mean():.2f} %",
            f"{100 * (images == 255).mean():.2f} %",
        ]
        constant = int((images == images[0]).all(axis=(0, 3)).sum())
        assert [f"{constant} of 784 pixels are the same in every {part} image"] in pixels
    assert duplicates == [
        ["duplicates", "copies", "look alike"],
        ["train images like an earlier one", "0", "1"],
        ["test images like a train image", "0", "0"],
        ["test images like an earlier one", "0", "0"],
    ]


def test_leakage_and_what_else_is_odd_is_warned_of(parsed: Layout, cli: Run) -> None:
    folder = parsed.parsed("bundled", "tiny")
    arrays = {(part, name): np.load(folder / part / f"{name}.npy") for part in PARTS for name in NAMES}
    images, labels = arrays["test", "images"], arrays["test", "labels"]
    train = arrays["train", "images"]
    labels[labels == 9] = 8
    images[20:23], labels[20:23] = train[40:43], arrays["train", "labels"][40:43]
    labels[21] = (labels[21] + 1) % 8
    images[30] = np.where(train[50] > 0, train[50] - train[50] // 16, 0)
    train[60] = 17
    for (part, name), array in arrays.items():
        np.save(folder / part / f"{name}.npy", array)
    lines = cli(*SHOW, "--source", "bundled", "--card", "card.png").out.splitlines()
    original, copy = arrays["train", "labels"][41], labels[21]
    assert [line for line in lines if line.startswith("warning: ")] == [
        "warning: train images of a single colour: 1, the first is image 60",
        "warning: no test image is of class 9",
        (f"warning: copies with another label: 1; train image 41 is {original}, test image 21 {copy}"),
        (
            "warning: leakage: 3 of 100 test images (3.00 %) are train images, too; the test accuracy"
            " is partly memory"
        ),
        (
            "warning: possible leakage: 1 of 100 test images (1.00 %) look like a train image, 1 of them of"
            f" class {labels[30]}; --card shows whether they are copies or plain shapes"
        ),
    ]
    assert lines[-1] == "card.png: the data card"
    with Image.open(parsed.root / "card.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 1200


def test_without_a_test_set_copies_may_be_divided_by_the_split(parsed: Layout, cli: Run) -> None:
    definition = (parsed.conf / "dataset" / "tiny.yaml").read_text()
    (parsed.conf / "dataset" / "tiny.yaml").write_text(definition.replace("test_count: 100", "test_count: 0"))
    folder = parsed.parsed("bundled", "tiny")
    for name in NAMES:
        np.save(folder / "test" / f"{name}.npy", np.load(folder / "test" / f"{name}.npy")[:0])
        array = np.load(folder / "train" / f"{name}.npy")
        array[3] = array[2]
        np.save(folder / "train" / f"{name}.npy", array)
    ended = cli(*SHOW, "--source", "bundled", "--card", "card.png")
    assert (ended.code, ended.err) == (0, "")
    assert "a few drawn digits (not MNIST): 200 train images of 28 × 28 grey pixels" in ended.out
    assert "warning: leakage: 1 train images are copies of others, and the split" in ended.out
    ended = cli(*SHOW, "--part", "test")
    assert (ended.code, ended.out) == (2, "")
    assert "--part test: a few drawn digits (not MNIST) has no test set; the split takes one" in ended.err


def test_colour_images_have_statistics_by_channel(parsed: Layout, cli: Run) -> None:
    definition = (parsed.conf / "dataset" / "tiny.yaml").read_text()
    (parsed.conf / "dataset" / "tiny.yaml").write_text(definition.replace("[28, 28, 1]", "[4, 2, 3]"))
    images = np.random.default_rng(0).integers(0, 200, (200, 4, 2, 3)).astype(np.uint8)
    images[..., 1] //= 2
    folder = parsed.parsed("bundled", "tiny")
    np.save(folder / "train" / "images.npy", images)
    np.save(folder / "test" / "images.npy", images[:100])
    ended = cli(*SHOW, "--source", "bundled", "--picture", "out.png")
    assert (ended.code, ended.err) == (0, "")
    lines = sections(ended.out)[2]
    bands = ["red", "green", "blue"]
    assert [line[0] for line in lines[1:]] == [f"{part} {band}" for part in PARTS for band in bands]
    for channel, line in enumerate(lines[1:4]):
        values = images[..., channel]
        median = int(np.sort(values, axis=None)[values.size // 2 - 1])
        assert line[1:6] == [
            str(values.min()),
            str(median),
            f"{values.mean():.2f}",
            str(values.max()),
            f"{values.std():.2f}",
        ]


def test_the_chosen_images_are_listed_and_drawn(
    parsed: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    original = gallery.contact_sheet

    def contact_sheet(images: Any, labels: Any, names: Any, **texts: str) -> Any:  # noqa: ANN401  (passed on)
        drawn.append((np.array(images), np.array(labels), texts))
        return original(images, labels, names, **texts)

    monkeypatch.setattr(gallery, "contact_sheet", contact_sheet)
    folder = parsed.parsed("bundled", "tiny") / "train"
    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    ended = cli(*SHOW, "--source", "bundled", "--index", "5", "0", "199", "--picture", "sheets/out.png")
    assert (ended.code, ended.err) == (0, "")
    *_, listed, last = sections(ended.out)
    assert listed == [["image", "class"], *([str(index), str(labels[index])] for index in (5, 0, 199))]
    assert last == [["sheets/out.png: 3 images"]]
    np.testing.assert_array_equal(drawn[0][0], images[[5, 0, 199]])
    np.testing.assert_array_equal(drawn[0][1], labels[[5, 0, 199]])
    assert drawn[0][2] == {"title": "a few drawn digits (not MNIST)", "subtitle": "train part, 3 images"}
    with Image.open(parsed.root / "sheets" / "out.png") as picture:
        assert picture.format == "PNG"

    for arguments, first, count, told in (
        (("--count", "4"), 0, 4, "images 0 to 3"),
        (("--index", "7", "--count", "5"), 7, 5, "images 7 to 11"),
        (("--index", "198", "--count", "5"), 198, 2, "images 198 to 199"),
        (("--index", "3"), 3, 1, "image 3"),
        ((), 0, 60, "images 0 to 59"),
    ):
        ended = cli(*SHOW, *arguments, "--picture", "out.png")
        assert ended.out.splitlines()[-1] == f"out.png: {told}"
        np.testing.assert_array_equal(drawn[-1][0], images[first : first + count])


def test_the_source_is_chosen_and_named(parsed: Layout, cli: Run) -> None:
    assert cli(*SHOW, "--source", "official").out.startswith("a few digits: 200 train and 100 test")
    del parsed


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            (*SHOW, "--index", "200"),
            2,
            "--index 200: the train part of a few drawn digits (not MNIST) has images 0",
        ),
        ((*SHOW, "--index", "0", "-1"), 2, "--index -1: the train part"),
        ((*SHOW, "--count", "0"), 2, "--count 0: expected 1 or more"),
        ((*SHOW, "--index", "1", "2", "--count", "3"), 2, "--count goes with a single --index, or with none"),
        ((*SHOW, "--index", *["1"] * 401), 2, "401 images are too many to look at: at most 400"),
        ((*SHOW, "--picture", "out.pdf"), 2, "--picture out.pdf: the picture is written as PNG"),
        ((*SHOW, "--card", "out.pdf"), 2, "--card out.pdf: the picture is written as PNG"),
        (("show", "--dataset", "nope"), 2, "dataset=nope: unknown; one of "),
        (("show", "--dataset", "../tiny"), 2, "dataset=../tiny: unknown; one of "),
        (("show", "--dataset", "kmnist"), 2, "source=bundled: kmnist has no such source"),
        (
            ("show", "--dataset", "mnist"),
            1,
            "data/parsed/bundled/mnist is missing: drawn digits (not MNIST) has not",
        ),
    ],
)
def test_a_mistake_is_told_in_two_lines_at_most(
    parsed: Layout, cli: Run, arguments: tuple[str, ...], code: int, told: str
) -> None:
    before = sorted(parsed.root.rglob("*"))
    ended = cli(*arguments, *(("--picture", "new.png") if "--picture" not in arguments else ()))
    assert (ended.code, ended.out) == (code, "")
    assert said(ended).startswith(told)
    assert sorted(parsed.root.rglob("*")) == before


def test_a_damaged_data_set_is_told(parsed: Layout, cli: Run) -> None:
    folder = parsed.parsed("bundled", "tiny") / "train"
    np.save(folder / "images.npy", np.zeros((200, 8, 8, 1), np.uint8))
    ended = cli(*SHOW)
    assert (ended.code, ended.out) == (1, "")
    assert "images: found the shape [200, 8, 8, 1], expected [200, 28, 28, 1]; correct conf/" in ended.err
    (folder / "images.npy").unlink()
    ended = cli(*SHOW)
    assert (ended.code, ended.out) == (1, "")
    assert "images.npy" in ended.err


def test_an_augmentation_is_drawn_beside_each_image(
    parsed: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Any, dict[str, Any]]] = []
    whole = gallery.contact_sheet

    def keep(images: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401  (as it is drawn)
        drawn.append((images, named))
        return whole(images, *rest, **named)

    monkeypatch.setattr(gallery, "contact_sheet", keep)
    ended = cli(
        *SHOW,
        "--source",
        "bundled",
        "--index",
        "3",
        "5",
        "--picture",
        "out.png",
        "--augment",
        "objects",
        "flip_share=0",
    )
    assert (ended.code, ended.err) == (0, "")
    ((images, named),) = drawn
    assert images.shape == (2, 28, 8 * 28, 1)
    assert "augmented: objects flip_share=0" in named["subtitle"]
    originals = np.load(parsed.parsed("bundled", "tiny") / "train" / "images.npy")[[3, 5]]
    np.testing.assert_array_equal(images[:, :, :28], originals)
    strips = [images[:, :, start : start + 28] for start in range(28, 8 * 28, 28)]
    assert all(strip.any() for strip in strips)
    assert len({strip.tobytes() for strip in strips}) > 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--augment", "digits"), "--augment: say where to draw it, with --picture FILE.png"),
        (("--picture", "out.png", "--augment", "none"), "--augment none: leaves the images as they are"),
        (("--picture", "out.png", "--augment", "cutout"), "cutout"),
        (("--picture", "out.png", "--augment", "digits", "zoom=1"), "augment.zoom"),
    ],
)
def test_an_augmentation_that_cannot_be_drawn_is_told(
    parsed: Layout, cli: Run, arguments: tuple[str, ...], message: str
) -> None:
    ended = cli(*SHOW, "--source", "bundled", *arguments)
    assert ended.code != 0
    assert message in ended.err
    assert ended.err.count("\n") <= 2
    assert not (parsed.root / "out.png").exists()
