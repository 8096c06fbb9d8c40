"""Archives in the layout of a known data set: CIFAR's."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from pipeline.commands.shared.discovery.found import Found
from pipeline.core.errors import FormatError
from pipeline.data.formats import cifar

_CIFAR: Final = {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100_FINE}


def describe_cifar(path: Path, names: Collection[str]) -> Found | None:
    """CIFAR's batches, or None.

    Args:
        path: the archive, or the folder that holds its folder.
        names: of all the files in it, from there on.

    Raises:
        FormatError: it is the folder of the batches itself.
    """
    for form, variant in _CIFAR.items():
        for version in variant.versions:
            if (
                not version.batches()
                .keys()
                .isdisjoint(
                    name.removeprefix(f"{version.folder}/")
                    for name in names
                    if name.startswith(version.folder)
                )
            ):
                return Found(form, {"archive": [path]}, cifar.IMAGE_SHAPE, [])
            if path.name == version.folder and not version.batches().keys().isdisjoint(names):
                raise FormatError(f"{path}: name the folder above it, which holds {path.name}")
    return None
