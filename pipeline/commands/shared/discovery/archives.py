"""Archives in the layout of a known data set: CIFAR's and STL-10's, or the folders that they unpack to."""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from pipeline.commands.shared.discovery.found import Found
from pipeline.commands.shared.discovery.labels import list_classes
from pipeline.commands.shared.discovery.pictures import Opener
from pipeline.core.errors import FormatError
from pipeline.core.files.images import PARTS
from pipeline.data.formats import cifar

_CIFAR: Final = {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100_FINE}
_STL10: Final = "stl10_binary"
_STL10_FILES: Final = [f"{part}_{what}.bin" for part in PARTS for what in "Xy"]
_CHANNELS: Final = 3
_MOST_BYTES: Final = 1 << 16  # of a list of classes


def describe_known(
    path: Path,
    names: Collection[str],
    size_of: Callable[[str], int],
    open_one: Opener,
    shape: tuple[int, int, int] | None,
) -> Found | None:
    """CIFAR's batches or STL-10's files, or None.

    Args:
        path: the archive, or the folder that holds its folder.
        names: of all the files in it, from there on.
        size_of: tells the bytes of one of them.
        open_one: opens one of them.
        shape: of an image of STL-10: height, width, channels; None to tell by the files' sizes.

    Raises:
        FormatError: it is the folder of the files itself, or one of STL-10's is missing or of another size.
    """
    for form, variant in _CIFAR.items():
        for version in variant.versions:
            if _has_any(path, version.folder, version.batches(), names):
                notes = _others(path, version.folder, names)
                return Found(form, {"archive": [path]}, cifar.IMAGE_SHAPE, [], notes=notes)
    if _has_any(path, _STL10, _STL10_FILES, names):
        inside = [name for name in names if name.startswith(f"{_STL10}/")]
        sizes = {name.removeprefix(f"{_STL10}/"): size_of(name) for name in inside}
        return _describe_stl10(path, sizes, open_one, shape, _others(path, _STL10, names))
    return None


def _has_any(path: Path, folder: str, names: Iterable[str], found: Collection[str]) -> bool:
    """Whether any of the files is in the folder that the archive has for them."""
    if path.name == folder and any(name in found for name in names):
        raise FormatError(f"{path}: name the folder above it, which holds {path.name}")
    return any(f"{folder}/{name}" in found for name in names)


def _others(path: Path, folder: str, names: Iterable[str]) -> list[str]:
    """What else a folder holds, as a note: it is packed whole."""
    others = [name for name in names if not name.startswith(f"{folder}/")] if path.is_dir() else []
    return [f"files beside {folder}, packed with it: {len(others):,}, such as {others[0]}"] if others else []


def _describe_stl10(
    path: Path,
    inside: Mapping[str, int],
    open_one: Opener,
    shape: tuple[int, int, int] | None,
    notes: list[str],
) -> Found:
    has_test = any(name in inside for name in _STL10_FILES[2:])
    for name in _STL10_FILES if has_test else _STL10_FILES[:2]:
        if not inside.get(name):
            what = "has no bytes" if name in inside else "is not there"
            raise FormatError(f"{path}: expected {_STL10}/{name} as in STL-10, but it {what}")
    images, labels = (inside[name] for name in _STL10_FILES[:2])
    if shape is None:
        side = round((images / labels / _CHANNELS) ** 0.5)
        if side * side * _CHANNELS * labels != images:
            raise FormatError(
                f"{path}: expected square colour images for the {labels:,} labels of train_y.bin, found"
                f" {images:,} bytes in train_X.bin; say with --shape HEIGHT WIDTH 3"
            )
        shape = side, side, _CHANNELS
    if without := inside.get("unlabeled_X.bin"):
        notes.append(f"images without labels, left aside: {without * labels // images:,}")
    classes: list[str] = []
    if "class_names.txt" in inside:
        with open_one(f"{_STL10}/class_names.txt") as file:
            classes = file.read(_MOST_BYTES).decode("utf-8", "replace").split()
        list_classes(path, {"train": classes}, "names in class_names.txt")
    else:
        notes.append("no class_names.txt: the classes are those of STL-10")
    return Found("stl10", {"archive": [path]}, shape, classes, {"first_label": 1}, has_test, notes)
