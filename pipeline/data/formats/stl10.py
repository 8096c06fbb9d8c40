"""STL-10's binary version, from a tar or tar.gz: PART_X.bin and PART_y.bin, uint8, without headers.

The pixels of an image are a red, a green and a blue plane, each column by column; labels run from 1. Most of
the archive are images without labels, which are passed over.
(A. Coates, H. Lee, A. Y. Ng: An analysis of single-layer networks in unsupervised feature learning, 2011.)
"""

from collections.abc import Generator
from typing import Final

import numpy as np

from pipeline.core.errors import FormatError
from pipeline.data.formats.examples import Batch, Request
from pipeline.data.formats.streams import open_stream
from pipeline.data.formats.tar import find_member

_FOLDER: Final = "stl10_binary"
_MAXIMUM_LABELS: Final = 2**24


def read_part(request: Request) -> Generator[Batch, None, None]:
    """The images and labels of a part, from the archive; it is read twice, for either may come first.

    Yields:
        Batches whose images are uint8 (rows, height, width, 3), and whose labels are uint8.

    Raises:
        FormatError: it is no such archive, damaged, or its files do not agree.
        PipelineError: it is missing or cannot be read.
    """
    ((path, _),) = request.places("archive")
    height, width, channels = request.shape
    image_bytes = height * width * channels
    names = f"{_FOLDER}/{request.part}_X.bin", f"{_FOLDER}/{request.part}_y.bin"
    places = [path / name for name in names]
    with open_stream(path) as stream:
        count = find_member(stream, names[1])
        if count > _MAXIMUM_LABELS:
            raise FormatError(f"{places[1]}: expected labels, found {count:,} bytes")
        labels = np.frombuffer(stream.read(count), np.uint8)
    with open_stream(path) as stream:
        size = find_member(stream, names[0])
        if size != count * image_bytes or len(labels) != count:
            raise FormatError(
                f"{places[0]}: expected {count * image_bytes:,} bytes, {count:,} images of"
                f" {height} × {width} × {channels} as there are labels, found {size:,}"
            )
        if request.count not in (None, count):
            raise FormatError(
                f"{places[0]}: expected {request.count:,} {request.part} images, found {count:,}"
            )
        for first in range(0, count, request.rows_at_a_time):
            some = labels[first : first + request.rows_at_a_time]
            data = stream.read(len(some) * image_bytes)
            if len(data) < len(some) * image_bytes:
                raise FormatError(f"{places[0]}: the tar archive is cut off; the file is incomplete")
            planes = np.frombuffer(data, np.uint8).reshape(-1, channels, width, height)
            yield Batch(planes.transpose(0, 3, 2, 1), some, places[0], places[1], first)
