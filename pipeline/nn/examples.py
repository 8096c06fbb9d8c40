"""The examples of one part of a data set."""

from dataclasses import dataclass

from pipeline.nn.arrays import Integers, Pixels


@dataclass(frozen=True)
class Examples:
    """Some images of a set, by index.

    Attributes:
        pixels: uint8 (images, features); may be a memory map.
        labels: integers (images,).
        indices: int64 (n,), which images, in which order.
    """

    pixels: Pixels
    labels: Integers
    indices: Integers

    def __len__(self) -> int:
        """How many images."""
        return len(self.indices)
