"""add-dataset: from a stranger's files to a definition, and from that to an accuracy."""

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.shared.discovery import discover
from pipeline.config.compose import read_dataset
from pipeline.core.files.images import load
from pipeline.core.paths import Layout
from pipeline.data import local, pictures
from pipeline.data.formats import cifar, idx

ROOT = Path(__file__).resolve().parent.parent.parent
Run = Callable[..., Any]
Array = np.ndarray[Any, Any]


def make_arrays(count: int, classes: int = 3, channels: int = 1, seed: int = 0) -> tuple[Array, Array]:
    """Images in which every class has a bright row of its own."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = random.integers(0, 90, (count, 6, 6, channels)).astype(np.uint8)
    images[np.arange(count), labels] += 150
    return images if channels == 3 else images[..., 0], labels


TRAIN, TEST = make_arrays(60), make_arrays(30, seed=1)


def write_idx(folder: Path) -> Path:
    folder.mkdir()
    for name, array in (
        ("train-images-idx3-ubyte", TRAIN[0]),
        ("train-labels-idx1-ubyte", TRAIN[1].astype(np.uint8) + 1),
        ("t10k-images-idx3-ubyte", TEST[0]),
        ("t10k-labels-idx1-ubyte", TEST[1].astype(np.uint8) + 1),
    ):
        idx.write(folder / name, array)
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes(), mtime=0))
        (folder / name).unlink()
    (folder / "readme.txt").write_text("about")
    return folder


def write_npz(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "some.npz"
    arrays = {"train_images": TRAIN[0], "train_labels": TRAIN[1][:, None]}
    np.savez(path, **arrays, test_images=TEST[0], test_labels=TEST[1][:, None], val_images=TEST[0])
    return path


def write_csv(folder: Path) -> Path:
    folder.mkdir()
    header = ",".join([*(f"pixel{number}" for number in range(36)), "label"]) + "\n"
    for name, (images, labels) in {"train": TRAIN, "test": TEST}.items():
        names = np.array(["ant", "bee", "cat"])[labels]
        rows = [
            ",".join([*map(str, image.ravel()), label]) for image, label in zip(images, names, strict=True)
        ]
        (folder / f"{name}.csv").write_text(header + "\n".join(rows) + "\n")
    return folder


def write_folder(folder: Path) -> Path:
    for part, (images, labels) in {"train": TRAIN, "test": TEST}.items():
        # The order of the images is that of the names.
        for place, number in enumerate(np.argsort(labels, kind="stable")):
            path = folder / part / "abc"[labels[number]] / f"{place:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[number]).save(path)
    return folder


MADE = {"idx": write_idx, "npz": write_npz, "csv": write_csv, "folder": write_folder}
CLASSES = {
    "folder": ["a", "b", "c"],
    "idx": ["1", "2", "3"],
    "npz": ["0", "1", "2"],
    "csv": ["ant", "bee", "cat"],
}


@pytest.mark.parametrize("form", MADE)
def test_files_become_a_definition_and_arrays(checkout: Layout, cli: Run, form: str) -> None:
    place = MADE[form](checkout.root.parent / "files")
    ended = cli("add-dataset", str(place), "--name", "mine")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == f"{place}: {form}, 6 × 6 grey images"
    assert lines[1] == "  train: 60 images, 20 to 20 of each of 3 classes"
    assert lines[2] == "  test: 30 images, 10 to 10 of each of 3 classes"
    assert lines[3] == f"  classes: {', '.join(CLASSES[form])}"
    assert ("  arrays left aside: val_images" in lines) == (form == "npz")
    assert "  pipeline train dataset=mine source=local optimizer=adam training.epochs=50" in lines
    dataset = read_dataset(checkout.conf, "mine")
    assert dataset.format == form
    assert set(dataset.sources) == {"local", "bundled", "official"}
    assert local.read_places(checkout.conf) == {
        "mine": Path(os.path.relpath(place, checkout.root)).as_posix()
    }
    for source in ("local", "bundled"):
        assert cli("fetch", "mine", "--source", source).code == 0
        assert cli("parse", "mine", "--source", source).code == 0
        for part, (images, labels) in (("train", TRAIN), ("test", TEST)):
            found = load(checkout.parsed(source, "mine"), part)  # type: ignore[arg-type]  # train and test are Parts
            order = np.argsort(labels, kind="stable") if form == "folder" else slice(None)
            np.testing.assert_array_equal(found.images[..., 0], images[order])
            np.testing.assert_array_equal(found.labels, labels[order])


def test_cifar_archives_have_the_classes_of_their_data_set(checkout: Layout, cli: Run) -> None:
    images, labels = np.zeros((50, 32, 32, 3), np.uint8), (np.arange(50) % 10).astype(np.uint8)
    path = checkout.root.parent / "cifar-10-python.tar"
    cifar.write_archive(path, images, labels, images[:10], labels[:10], list("abcdefghij"))
    ended = cli("add-dataset", str(path), "--name", "mine")
    assert (ended.code, ended.err) == (0, "")
    assert "  odd: 10 test images that are train images, too" in ended.out.splitlines()
    assert "  odd: 50 train images of a single colour" in ended.out.splitlines()
    dataset = read_dataset(checkout.conf, "mine")
    assert (
        dataset.source("local").classes == read_dataset(checkout.conf, "cifar10").source("official").classes
    )


def test_a_dry_run_prints_the_definition_and_writes_nothing(checkout: Layout, cli: Run) -> None:
    place = write_npz(checkout.root.parent / "files")
    checkout.root.joinpath("runs").mkdir()
    before = {path: path.read_bytes() for path in checkout.root.rglob("*") if path.is_file()}
    printed = cli("add-dataset", str(place), "--dry-run").out
    assert before == {path: path.read_bytes() for path in checkout.root.rglob("*") if path.is_file()}
    assert cli("add-dataset", str(place)).code == 0
    assert printed.partition("\n\n")[2] == (checkout.conf / "dataset" / "some.yaml").read_text()


def test_places_are_added_one_after_the_other(checkout: Layout, cli: Run) -> None:
    place = write_npz(checkout.root / "files")
    for name in ("one", "two", "three"):
        assert cli("add-dataset", "files/some.npz", "--name", name).code == 0
    assert local.read_places(checkout.conf) == dict.fromkeys(("one", "two", "three"), "files/some.npz")
    assert (checkout.conf / "local.yaml").read_text().startswith("# Data sets of your own")
    (checkout.conf / "local.yaml").write_text("local: {one: files/some.npz}\n")
    ended = cli("add-dataset", "files/some.npz", "--name", "four")
    assert (ended.code, ended.err.count("\n")) == (2, 2)
    assert 'cannot be added to; write there, below `local:`:\n  four: "files/some.npz"' in ended.err
    assert place.is_file()


def test_labels_of_other_kinds_are_told(checkout: Layout, cli: Run) -> None:
    folder = checkout.root.parent
    images, labels = TRAIN
    np.savez(folder / "rows.npz", x_train=images, y_train=np.stack([labels, labels * 0], axis=1))
    np.savez(folder / "gaps.npz", x_train=images, y_train=labels * 5)
    out = cli("add-dataset", str(folder / "rows.npz"), "--dry-run").out
    assert (
        "  labels are rows of numbers, the first of each is taken (reading.label_column)" in out.splitlines()
    )
    assert "      label_column: 0" in out.splitlines()
    out = cli("add-dataset", str(folder / "gaps.npz"), "--dry-run").out
    assert "  labels are not consecutive: 0, 5, 10" in out.splitlines()
    assert '      labels: {"0": "0", "5": "5", "10": "10"}' in out.splitlines()
    assert "  no test set: the split takes a part of the train set" in out.splitlines()
    assert "    test_count: 0 # the split takes a test part from the train set" in out.splitlines()


def write_pictures(folder: Path, names: list[str], size: tuple[int, int] = (6, 6)) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, number % 256).save(folder / name)
    return folder


def mistakes() -> dict[str, tuple[Callable[[Path], object], str]]:
    """By name: what makes the files in a folder, and a part of what is told."""

    def npz(**arrays: Array) -> Callable[[Path], object]:
        return lambda folder: np.savez(folder / "x.npz", **arrays)

    def text(name: str, content: str) -> Callable[[Path], object]:
        return lambda folder: (folder / name).write_text(content)

    images, labels = TRAIN
    row = ",".join(["1"] * 37)
    return {
        "empty": (lambda _: None, "the folder is empty; expected idx files, an .npz, a .csv"),
        "unknown": (
            text("notes.txt", "hello"),
            "expected idx files, an .npz, a .csv, Parquet files, ",
        ),
        "one idx file": (
            lambda folder: idx.write(folder / "train-images", images),
            "found train images but no train labels",
        ),
        "labels alone": (
            lambda folder: idx.write(folder / "train-labels", labels.astype(np.uint8)),
            "found train labels but no train images",
        ),
        "too few labels": (npz(x_train=images, y_train=labels[:50]), "expected 60 labels for the images"),
        "other arrays": (npz(a=images, b=labels), "expected arrays such as x_train, y_train, x_test, y_test"),
        "no images": (npz(x_train=labels, y_train=labels), "expected images (count, height, width)"),
        "one class": (
            npz(x_train=images, y_train=labels * 0),
            "expected 2 to 256 labels, one for each class, found 1: 0",
        ),
        "a measurement": (
            npz(x_train=np.zeros((300, 2, 2), np.uint8), y_train=np.arange(300)),
            "expected 2 to 256 labels, one for each class, found 300: 0, 1, 2",
        ),
        "a new label in the test set": (
            npz(x_train=images, y_train=labels, x_test=images, y_test=labels + 1),
            "the test set has labels that the training set has not: 3",
        ),
        "an index beside the label": (
            text("a.csv", f"0,{row}\n1,{row}\n2,{row}\n"),
            "one column more than a label and 6 × 6 pixels: is there an index, or no label?",
        ),
        "one row": (text("a.csv", row), "expected a label and the pixels of an image in each row"),
        "two training sets": (
            lambda folder: [(folder / name).write_text(f"{row}\n{row}\n") for name in ("a.csv", "b.csv")],
            "expected one file for the training set and at most one with `test` in its name, found a.csv, b",
        ),
        "a picture in no class": (
            lambda folder: write_pictures(folder, ["a/1.png", "b/1.png", "2.png"]),
            "expected a folder for each class, found the picture 2.png in none",
        ),
        "a picture of a part in no class": (
            lambda folder: write_pictures(folder, ["train/a/1.png", "train/b/1.png", "train/2.png"]),
            "expected a folder for each class in train/, found the picture train/2.png in none",
        ),
        "one class of pictures": (
            lambda folder: write_pictures(folder, ["a/1.png", "a/2.png"]),
            "expected 2 to 256 folders, one for each class, found 1: a",
        ),
        "a new class in the test set": (
            lambda folder: write_pictures(folder, ["train/a/1.png", "train/b/1.png", "test/c/1.png"]),
            "the test set has folders that the training set has not: c",
        ),
        "classes at two depths": (
            lambda folder: write_pictures(folder, ["a/1.png", "b/c/1.png"]),
            "expected pictures in a folder for each class, side by side, found a, b/c",
        ),
        "a picture that is none": (
            lambda folder: (write_pictures(folder, ["a/1.png", "b/1.png"]) / "b" / "2.png").write_text("no"),
            "b/2.png: not a picture that can be read; remove or replace it",
        ),
        "the batches alone": (
            lambda folder: write_batches(folder / "cifar-10-batches-py"),
            "name the folder above it, which holds cifar-10-batches-py",
        ),
    }


def write_batches(folder: Path) -> None:
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"x")


@pytest.mark.parametrize("mistake", mistakes())
def test_a_mistake_is_one_line_and_nothing_is_written(checkout: Layout, cli: Run, mistake: str) -> None:
    make, told = mistakes()[mistake]
    folder = checkout.root.parent / "files"
    folder.mkdir()
    make(folder)
    place = folder / "cifar-10-batches-py" if mistake == "the batches alone" else folder
    ended = cli("add-dataset", str(place), "--name", "mine")
    assert ended.code in {1, 2}
    assert ended.out == ""
    assert told in ended.err
    assert ended.err.count("\n") == 1
    assert not (checkout.conf / "dataset" / "mine.yaml").exists()
    assert local.read_places(checkout.conf) == {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere",), "nowhere: no such file or folder"),
        (("conf", "--name", "tiny"), "conf/dataset/tiny.yaml exists already: give another --name"),
        (("conf", "--name", "a b"), "--name a b: expected letters, digits"),
        (("conf", "--shape", "0", "5", "1"), "--shape 0 5 1: expected height and width in pixels"),
        (("http://example.invalid/x.npz",), "expected the https URL of a file"),
        (("https://example.invalid/",), "expected the https URL of a file"),
    ],
)
def test_a_wrong_argument_is_one_line(
    checkout: Layout, cli: Run, arguments: tuple[str, ...], told: str
) -> None:
    ended = cli("add-dataset", *arguments)
    assert ended.code in {1, 2}
    assert told in ended.err
    assert ended.err.count("\n") == 1
    assert local.read_places(checkout.conf) == {}
    del checkout


class Answer:
    """What a server says."""

    def __init__(self, data: bytes, status: int = 200, *, is_page: bool = False) -> None:
        self.status, self.status_text, self.is_page, self.length = (
            status,
            f"HTTP {status}",
            is_page,
            len(data),
        )
        self._data = data

    def read(self, most: int) -> bytes:
        part, self._data = self._data[:most], self._data[most:]
        return part


def test_a_url_becomes_a_mirror(checkout: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_npz(checkout.root.parent / "files")
    asked: list[str] = []

    def exchange(session: object, url: str, *_: object) -> contextlib.nullcontext[Answer]:
        del session
        asked.append(url)
        return contextlib.nullcontext(answers.pop(0))

    monkeypatch.setattr("pipeline.data.download.http.exchange", exchange)
    url = "https://example.invalid/a%20b.npz?download=1"
    answers = [Answer(b"", 404), Answer(b"<html>", is_page=True), Answer(path.read_bytes())]
    for told in ("HTTP 404; is it the address of the file itself?", "a web page instead of a file"):
        ended = cli("add-dataset", url)
        assert (ended.code, ended.err.count("\n")) == (1, 1)
        assert told in ended.err
    assert cli("add-dataset", url).code == 0
    assert asked == [url] * 3
    source = read_dataset(checkout.conf, "a_b").source("official")
    assert source.mirrors == [url]
    (file,) = source.all_files
    assert (file.name, file.bytes) == ("a b.npz", path.stat().st_size)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert local.read_places(checkout.conf) == {}


@pytest.mark.slow
def test_dvc_reruns_what_follows_a_changed_file(checkout: Layout, cli: Run) -> None:
    root = checkout.root
    shutil.copytree(ROOT / "pipeline", root / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dvcignore", root)
    path = write_npz(root.parent / "files")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)

    def dvc(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603  (DVC in a checkout of its own)
            [sys.executable, "-m", "dvc", *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def accuracy() -> float:
        return float(json.loads(checkout.results("mine").metrics.read_text())["test"])

    dvc("init", "--no-scm", "--quiet")
    assert cli("add-dataset", str(path), "--name", "own").code == 0
    (checkout.conf / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /dataset: own\n\nname: mine\ntraining: {epochs: 30}\n"
    )
    checkout.params.write_text("source: bundled\ndatasets: [own]\nexperiments:\n  mine: {dataset: own}\n")
    dvc("repro", "evaluate@mine")
    assert accuracy() > 0.9
    assert "up to date" in dvc("status", "evaluate@mine")

    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, "test_labels": (arrays["test_labels"] + 1) % 3})
    dvc("repro", "evaluate@mine")
    assert accuracy() < 0.1
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"sha256: {checksum}" in (checkout.conf / "dataset" / "own.yaml").read_text()
    assert "up to date" in dvc("status", "evaluate@mine")


def test_pictures_in_an_archive_are_found(checkout: Layout, cli: Run) -> None:
    folder = write_pictures(checkout.root.parent / "files", ["x/train/a/1.png", "x/train/b/1.png"], (90, 60))
    archive = checkout.root.parent / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted(folder.rglob("*.png")):
            zipped.write(path, path.relative_to(folder).as_posix())
    write_pictures(folder, ["x/val/b/1.png"])
    found = discover(folder)
    assert found.reading == {"members": {"train": "x/train", "test": "x/val"}}
    write_pictures(folder, ["x/test/b/1.png"])
    assert discover(folder).reading == {"members": {"train": "x/train", "test": "x/test"}}
    shutil.rmtree(folder / "x" / "val")
    shutil.rmtree(folder / "x" / "test")
    for place in (folder, archive):
        found = discover(place)
        assert (found.format, found.classes, found.has_test) == ("folder", ["a", "b"], False)
        assert found.image_shape == (21, 32, 1)
        assert found.reading == {"members": {"train": "x/train"}}
        assert found.notes == ["most pictures are 60 × 90: made smaller (--shape for another size)"]
        assert discover(place, (6, 9, 3)).image_shape == (6, 9, 3)
    del cli


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_tar_of_the_folder_it_was_made_in_is_found_and_read_once(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "files", [f"{name}/{n}.png" for name in "ab" for n in range(4)])
    path = tmp_path / f"pictures.{kind}"
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
        archive.add(folder, ".")
    opened: list[object] = []
    plain_open = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda *given: opened.append(given) or plain_open(*given))
    found = discover(path)
    assert (found.classes, found.image_shape) == (["a", "b"], (6, 6, 1))
    assert len(opened) == 1


@pytest.mark.parametrize("suffix", sorted(pictures.SUFFIXES))
def test_every_picture_that_the_stages_read_is_found(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "files"
    for name in "ab":
        (folder / name).mkdir(parents=True)
        Image.new("1" if suffix == ".pbm" else "L", (6, 6)).save(folder / name / f"1{suffix}")
    assert discover(folder).classes == ["a", "b"]


def test_what_systems_put_into_an_archive_is_passed_over(tmp_path: Path) -> None:
    folder = write_pictures(
        tmp_path, [f"x/{part}/{name}/1.png" for part in ("train", "test") for name in "ab"]
    )
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for picture in sorted(folder.rglob("*.png")):
            name = picture.relative_to(folder)
            archive.write(picture, name.as_posix())
            archive.writestr(f"__MACOSX/{name.parent.as_posix()}/._{name.name}", b"\0\5\26\7")
    found = discover(path)
    assert found.reading == {"members": {"train": "x/train", "test": "x/test"}}
    assert found.notes == []


@pytest.mark.parametrize("validation", ["val", "Val", "validation", "extra"])
def test_pictures_of_neither_part_are_told(tmp_path: Path, validation: str) -> None:
    folder = tmp_path / "files"
    write_pictures(
        folder, [f"{part}/{name}/1.png" for part in ("train", "test", validation) for name in "ab"]
    )
    found = discover(folder)
    assert found.reading == {}
    assert found.notes == [f"pictures of neither part, left aside: 2, such as {validation}/a/1.png"]


def write_table(path: Path, labels: list[str], header: str = "") -> Path:
    rows = [",".join([label, *("1234")]) for label in labels]
    path.write_text("\n".join([*([header] if header else []), *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("labels", "reading"),
    [
        (["0", "1", "2"], {}),
        (["1", "3", "2"], {"first_label": 1}),
        (["1.0", "3.0", "2.0"], {"first_label": 1}),
        (["10", "5", "0"], {"labels": {"0": "0", "5": "5", "10": "10"}}),
        (["1", "2", "none"], {"labels": {"1": "1", "2": "2", "none": "none"}}),
        (["ant", "bee", "nan"], {}),
    ],
)
def test_a_table_with_labels_of_any_kind_is_read_as_it_is(
    checkout: Layout, cli: Run, labels: list[str], reading: dict[str, Any]
) -> None:
    path = write_table(checkout.root.parent / "mine.csv", labels * 2, "label,a,b,c,d")
    assert cli("add-dataset", str(path)).code == 0
    source = read_dataset(checkout.conf, "mine").source("local")
    assert discover(path).reading == reading
    assert source.test_count == 0
    assert cli("fetch", "mine", "--source", "local").code == 0
    assert cli("parse", "mine", "--source", "local").code == 0
    parsed = load(checkout.parsed("local", "mine"), "train").labels
    assert [source.classes[label] for label in parsed] == [label.removesuffix(".0") for label in labels * 2]


def test_a_table_that_does_not_say_where_its_labels_are_is_told(tmp_path: Path) -> None:
    (note,) = discover(write_table(tmp_path / "a.csv", ["0", "1"])).notes
    assert note.startswith("labels: taken from the first column, for nothing says where they are")
    assert discover(write_table(tmp_path / "b.csv", ["0", "1"], "label,a,b,c,d")).notes == []
    assert discover(write_table(tmp_path / "c.csv", ["ant", "bee"])).notes == []


def test_a_validation_table_gives_way_to_a_test_table(tmp_path: Path) -> None:
    for name in ("train", "test", "val"):
        write_table(tmp_path / f"{name}.csv", ["ant", "bee"])
    found = discover(tmp_path)
    assert found.files == {"train": [tmp_path / "train.csv"], "test": [tmp_path / "test.csv"]}
    assert found.notes == ["files of neither part, left aside: val.csv"]


@pytest.mark.parametrize("name", ["a\\db", 'a"b', "a: b # c", "ä"])
def test_a_place_of_any_name_is_noted(checkout: Layout, cli: Run, name: str) -> None:
    folder = write_pictures(checkout.root.parent / name / "x", ["a/1.png", "b/1.png"])
    assert cli("add-dataset", str(folder), "--name", "mine").code == 0
    assert local.find_place(checkout.root, "mine") == folder


def test_a_list_of_places_that_cannot_be_added_to_stays(checkout: Layout, cli: Run) -> None:
    folder = write_pictures(checkout.root.parent / "files", ["a/1.png", "b/1.png"])
    places = checkout.conf / "local.yaml"
    places.write_text("local:\n    other: ../other\n")
    ended = cli("add-dataset", str(folder), "--name", "mine")
    assert ended.code == 2
    assert "cannot be added to; write there, below `local:`" in ended.err
    assert places.read_text() == "local:\n    other: ../other\n"
    assert not (checkout.conf / "dataset" / "mine.yaml").exists()
