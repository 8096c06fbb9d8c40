"""fetch: drawn or copied files arrive, right to the byte, or it is told what is wrong with them."""

import functools
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.compose import read_dataset
from pipeline.core.errors import ConfigError, FetchError, FormatError
from pipeline.core.paths import Layout
from pipeline.data import standins
from pipeline.data.download import fetch as fetching
from pipeline.data.download.mirrors import MIRROR_VARIABLE
from pipeline.data.standins import draw_digits
from pipeline.stages import fetch
from pipeline.stages.shared.context import DatasetContext

Run = Callable[..., Any]


@pytest.fixture
def small_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many digits as the tiny data set promises."""
    monkeypatch.setitem(standins.DRAWINGS, "digits", functools.partial(draw_digits, 200, 100))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("small_drawing")
def test_drawn_files(checkout: Layout, cli: Run, tiny: Any) -> None:  # noqa: ANN401  (of conftest.py)
    ended = cli("fetch", "tiny", "--source", "bundled")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "drawing a few drawn digits (not MNIST)\n"
    assert contents(checkout.raw("bundled", "tiny")) == contents(tiny.raw)


@pytest.mark.usefixtures("small_drawing")
def test_what_was_there_is_drawn_over(checkout: Layout, cli: Run, tiny: Any) -> None:  # noqa: ANN401  (as above)
    folder = checkout.raw("bundled", "tiny")
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(b"rubbish")
    assert cli("fetch", "tiny").code == 0
    assert contents(folder) == contents(tiny.raw)


@pytest.mark.parametrize("source", ["bundled", "official"])
@pytest.mark.usefixtures("small_drawing")
def test_what_is_no_file_of_the_data_set_is_removed(
    checkout: Layout,
    cli: Run,
    tiny: Any,  # noqa: ANN401  (of conftest.py)
    source: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, str(tiny.raw))
    assert cli("fetch", "tiny", "--source", source).code == 0
    folder = checkout.raw(source, "tiny")
    elsewhere = checkout.root / "elsewhere"
    (folder / "unpacked" / "deep").mkdir(parents=True)
    (folder / "unpacked" / "deep" / "file").write_bytes(b"x")
    elsewhere.mkdir()
    (elsewhere / "kept").write_bytes(b"x")
    (folder / "link").symlink_to(elsewhere)
    (folder / ".hidden").write_bytes(b"x")
    # A renamed file is another one; that of the old name goes.
    renamed = f"sources.{source}.files.test_labels.name=labels"
    if source == "official":
        shutil.copy(tiny.raw / "t10k-labels-idx1-ubyte", folder / "labels")
    ended = cli("fetch", "tiny", renamed, "--source", source)
    assert ended.code == 0
    for name in (".hidden", "link", "t10k-labels-idx1-ubyte", "unpacked"):
        assert f"{name}: no file of this data set; removed\n" in ended.err
    expected = contents(tiny.raw)
    expected["labels"] = expected.pop("t10k-labels-idx1-ubyte")
    assert contents(folder) == expected
    assert (elsewhere / "kept").exists()


def test_a_failure_removes_nothing(
    checkout: Layout,
    cli: Run,
    tiny: Any,  # noqa: ANN401  (of conftest.py)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = checkout.raw("official", "tiny")
    shutil.copytree(tiny.raw, folder)
    before = contents(folder)
    monkeypatch.setenv(MIRROR_VARIABLE, str(checkout.root))

    def refuse(*_: object, **__: object) -> None:
        raise FetchError("no mirror delivers it")

    monkeypatch.setattr(fetching._Download, "run", refuse)
    renamed = "sources.official.files.test_labels.name=labels"
    assert cli("fetch", "tiny", renamed, "--source", "official").code == 1
    assert contents(folder) == before


@pytest.mark.usefixtures("small_drawing")
@pytest.mark.parametrize("change", ["sha256=" + "f" * 64, "bytes=7"])
def test_a_drawing_with_another_checksum(checkout: Layout, cli: Run, tiny: Any, change: str) -> None:  # noqa: ANN401  (as above)
    data = (tiny.raw / "t10k-labels-idx1-ubyte").read_bytes()
    ended = cli("fetch", "tiny", f"sources.bundled.files.test_labels.{change}")
    path = checkout.raw("bundled", "tiny") / "t10k-labels-idx1-ubyte"
    found = hashlib.sha256(data).hexdigest()
    expected = f"7 and {found}" if change == "bytes=7" else f"{len(data)} and {'f' * 64}"
    assert ended.err.endswith(
        f"\npipeline: {path}: drawn with {len(data)} bytes and sha256 {found}, expected {expected}"
        " (conf/dataset); has the drawing code changed?\n"
    )
    assert ended.code == 1


@pytest.mark.usefixtures("small_drawing")
def test_other_counts_than_promised_are_a_wrong_checksum(
    checkout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(standins.DRAWINGS, "digits", functools.partial(draw_digits, 100, 100))
    with pytest.raises(FormatError, match="has the drawing code changed"):
        fetch.run(DatasetContext(checkout, read_dataset(checkout.conf, "tiny"), "bundled"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "sources.bundled.drawing=nope",
            "tiny: drawing=nope with format=idx: expected one of digits, scenes, and",
        ),
        ("format=nope", "format=nope: unknown; one of idx, cifar10, "),
        ("format=cifar100", "format=cifar100: expected the files archive, found train_images, "),
    ],
)
def test_what_cannot_be_drawn(checkout: Layout, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fetch.run(DatasetContext(checkout, read_dataset(checkout.conf, "tiny", [override]), "bundled"))
    assert str(caught.value).startswith(said)
    assert not checkout.raw("bundled", "tiny").exists()


def test_a_format_that_nobody_writes(checkout: Layout) -> None:
    path = checkout.conf / "dataset" / "cifar10.yaml"
    path.write_text(path.read_text().replace("format: cifar10", "format: cifar100"))
    with pytest.raises(
        ConfigError, match=r"drawing=scenes with format=cifar100: expected one of .* idx or cifar10"
    ):
        fetch.run(DatasetContext(checkout, read_dataset(checkout.conf, "cifar10"), "bundled"))


def test_files_from_a_folder_of_the_users_own(
    checkout: Layout,
    cli: Run,
    tiny: Any,  # noqa: ANN401  (of conftest.py)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, str(tiny.raw))
    ended = cli("fetch", "tiny", "--source", "official")
    assert (ended.code, ended.out) == (0, "")
    folder = checkout.raw("official", "tiny")
    assert contents(folder) == contents(tiny.raw)
    assert not checkout.raw("bundled", "tiny").exists()
    assert not list(checkout.parts("official", "tiny").iterdir())
    assert f"from {tiny.raw / 'train-images-idx3-ubyte'}" in ended.err
    # A file that is right already is not fetched again, whoever has it.
    monkeypatch.setenv(MIRROR_VARIABLE, str(checkout.root))
    again = cli("fetch", "tiny", "--source", "official")
    assert again.code == 0
    assert again.err == "".join(f"{path.name}: already here\n" for path in map(Path, FILES))


FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def test_what_the_download_is_asked_for(
    checkout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The unfinished files wait outside DVC's output, which is to hold whole files only."""
    asked = []

    def pretend(file: Any, mirrors: Any, folder: Path, **others: Any) -> None:  # noqa: ANN401  (recorded only)
        asked.append((file.name, list(mirrors), folder, others["part_folder"], others["dataset"]))

    monkeypatch.setattr(fetching, "fetch", pretend)
    checkout.raw("official", "tiny").mkdir(parents=True)
    fetch.run(DatasetContext(checkout, read_dataset(checkout.conf, "tiny"), "official"))
    folder, parts = checkout.raw("official", "tiny"), checkout.parts("official", "tiny")
    assert asked == [(name, ["https://mirror.invalid/"], folder, parts, "tiny") for name in FILES]
    assert folder not in parts.parents


def test_a_failed_download_ends_with_1(checkout: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    del checkout

    def fail(*_: object, **__: object) -> None:
        raise FetchError("x: no network?\nWithout network: …")

    monkeypatch.setattr(fetching, "fetch", fail)
    ended = cli("fetch", "tiny", "--source", "official")
    assert (ended.code, ended.err) == (1, "pipeline: x: no network?\nWithout network: …\n")


def test_a_source_that_the_data_set_does_not_have(checkout: Layout) -> None:
    with pytest.raises(ConfigError, match="no stand-in is drawn for it"):
        fetch.run(DatasetContext(checkout, read_dataset(checkout.conf, "kmnist"), "bundled"))


@pytest.mark.parametrize(("name", "has_stand_in"), [("mnist", True), ("kmnist", False)])
def test_only_a_data_set_with_a_stand_in_is_told_of_it(
    name: str,
    has_stand_in: bool,  # noqa: FBT001  (a parametrised value)
    checkout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def pretend(file: object, mirrors: object, folder: Path, **options: object) -> None:
        del file, mirrors
        folder.mkdir(parents=True, exist_ok=True)
        asked.append(options["has_stand_in"])

    monkeypatch.setattr(fetching, "fetch", pretend)
    dataset = read_dataset(Path(__file__).parents[2] / "conf", name)
    fetch.run(DatasetContext(checkout, dataset, "official"))
    assert asked == [has_stand_in] * 4


def test_files_that_come_with_the_package(checkout: Layout, cli: Run) -> None:
    shutil.copy(Path(__file__).parents[2] / "conf/dataset/digits8.yaml", checkout.conf / "dataset")
    ended = cli("fetch", "digits8", "--source", "bundled")
    assert (ended.code, ended.out, ended.err) == (0, "", "digits.csv.gz: from this package\n")
    assert contents(checkout.raw("bundled", "digits8")).keys() == {"digits.csv.gz"}
    ended = cli("parse", "digits8", "--source", "bundled")
    assert ended.err == "8×8 digits: 1,797 training and no test images: the split takes some\n"
    ended = cli("fetch", "digits8", "--source", "bundled", "sources.bundled.files.train.bytes=1")
    assert ended.code == 1
    assert "found with 57523 bytes" in ended.err
    assert ended.err.endswith("(conf/dataset); has the package been changed?\n")
