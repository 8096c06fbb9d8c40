"""show: counts, pixel statistics and a contact sheet of a data set."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.paths import Layout
from pipeline.report.plots import gallery

Run = Callable[..., Any]

SHOW = ("show", "--dataset", "tiny")


def sections(text: str) -> list[list[list[str]]]:
    """The cells of each table, by lines; two spaces separate them."""
    return [
        [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in block.splitlines()]
        for block in text.split("\n\n")
    ]


@pytest.mark.parametrize("part", ["train", "test"])
def test_counts_and_statistics_are_those_of_the_arrays(parsed: Layout, cli: Run, part: str) -> None:
    folder = parsed.parsed("bundled", "tiny") / part
    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    ended = cli(*SHOW, "--source", "bundled", "--part", part)
    assert (ended.code, ended.err) == (0, "")
    (head,), classes, pixels = sections(ended.out)
    total = len(labels)
    assert head == [f"a few drawn digits (not MNIST), {part} part: {total} images of 28 × 28 grey pixels"]
    counts = np.bincount(labels, minlength=10)
    assert classes[1:] == [
        [str(digit), str(count), f"{100 * count / total:.2f} %"] for digit, count in enumerate(counts)
    ]
    assert pixels[0] == ["pixels", "lowest", "median", "mean", "highest", "deviation", "of 0", "of 255"]
    assert pixels[1] == [
        "grey",
        str(images.min()),
        str(int(np.median(images))),
        f"{images.mean():.2f}",
        str(images.max()),
        f"{images.std():.2f}",
        f"{100 * (images == 0).mean():.2f} %",
        f"{100 * (images == 255).mean():.2f} %",
    ]


def test_colour_images_have_statistics_by_channel(parsed: Layout, cli: Run) -> None:
    definition = (parsed.conf / "dataset" / "tiny.yaml").read_text()
    (parsed.conf / "dataset" / "tiny.yaml").write_text(definition.replace("[28, 28, 1]", "[4, 2, 3]"))
    images = np.random.default_rng(0).integers(0, 200, (200, 4, 2, 3)).astype(np.uint8)
    images[..., 1] //= 2
    np.save(parsed.parsed("bundled", "tiny") / "train" / "images.npy", images)
    ended = cli(*SHOW, "--source", "bundled", "--picture", "out.png")
    assert (ended.code, ended.err) == (0, "")
    lines = sections(ended.out)[2]
    assert [line[0] for line in lines[1:]] == ["red", "green", "blue"]
    for channel, line in enumerate(lines[1:]):
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
    assert cli(*SHOW, "--source", "official").out.startswith("a few digits, train part: 200 images")
    del parsed


def test_a_class_without_images_is_shown(parsed: Layout, cli: Run) -> None:
    folder = parsed.parsed("bundled", "tiny") / "test"
    labels = np.load(folder / "labels.npy")
    np.save(folder / "labels.npy", np.where(labels == 9, 8, labels).astype(np.uint8))
    assert sections(cli(*SHOW, "--part", "test").out)[1][-1] == ["9", "0", "0.00 %"]


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
    assert ended.err.startswith(f"pipeline: {told}")
    assert ended.err.count("\n") <= 2
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
