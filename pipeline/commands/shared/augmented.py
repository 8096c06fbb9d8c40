"""Images beside what an augmentation makes of them."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.commands.shared.models import Data
from pipeline.config.compose import compose
from pipeline.core.errors import UsageError
from pipeline.nn.arrays import Pixels
from pipeline.nn.augmentation import augmentation_of
from pipeline.stages.shared.parts import flat_pixels

_STEPS: Final = 7


def add_augmented(images: Pixels, data: Data, augment: Sequence[str]) -> Pixels:
    """Each image with what it becomes in the first steps of a training run to the right of it.

    Args:
        images: uint8 (n, height, width, channels).
        data: which the images are of.
        augment: a name from conf/augment/, then any KEY=VALUE of its settings.

    Returns:
        uint8 (n, height, width · 8, channels).

    Raises:
        ConfigError: there is no such name or setting, or it does not go with these images.
        UsageError: nothing is changed by it.
    """
    name, *values = augment
    overrides = [f"augment={name}", *(f"++augment.{value}" for value in values)]
    config = compose(data.layout.conf, [f"dataset={data.dataset.name}", f"source={data.source}", *overrides])
    augmentation = augmentation_of(config, len(images))
    if augmentation is None:
        raise UsageError(f"--augment {name}: leaves the images as they are")
    rows = np.ascontiguousarray(flat_pixels(images))
    shown = [images]
    for step in range(1, _STEPS + 1):
        changed = np.empty(rows.shape, np.float32)
        augmentation.apply(rows, changed, step)
        shown.append(np.rint(changed).astype(np.uint8).reshape(images.shape))
    return np.concatenate(shown, axis=2)
