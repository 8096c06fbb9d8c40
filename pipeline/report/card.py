"""The data card: what is in a data set, and whether its test images are in its train part.

Arrays in, arrays out. The images may be memory maps: they are read in pieces of some megabytes, once for the
statistics and hashes of each part, and once more where two may look alike.

Copies are found by a digest of the pixels, and images that look alike by a perceptual hash: the signs of the
64 lowest frequencies of the image in grey (Zauner, "Implementation and benchmarking of perceptual image hash
functions", 2010). Pairs with few different signs are found without comparing all with all, by sorting the
hashes once for each of several rotations of their bits and looking at the neighbours (Manku, Jain and Das
Sarma, "Detecting near-duplicates for web crawling", WWW 2007); then the images themselves are compared.
This finds an image that was saved anew, sharpened, made lighter or paler, or moved by a small part of its
size. It misses what was mirrored, turned, cropped or moved by more, and in a crowd of images with nearly the
same hash it may miss a pair.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.core.files.images import Array, LabelledImages, Part
from pipeline.report.metrics import Counts, Floats, Integers

Hashes: TypeAlias = npt.NDArray[np.uint64]
Pairs: TypeAlias = npt.NDArray[np.int64]
"""Places of images (pairs, 2), the later one of each pair in the second column."""

LEAST_CORRELATION: Final = 0.95
"""From which on two grey images look alike."""

_FREQUENCIES: Final = 8
_MOST_DIFFERENT_BITS: Final = 6
_ROTATIONS: Final = 8
_NEIGHBOURS: Final = 16
_MOST_WAITING: Final = 2**22  # pairs
_PIECE_BYTES: Final = 2**23
_MOST_IN_A_PIECE: Final = 2**14  # the sum of so many bytes is exact in float32
_FAINTEST: Final = 0.05  # grey levels; a weaker frequency counts as absent


@dataclass(frozen=True)
class PartCard:
    """What is in one part; see the module for the last two.

    Attributes:
        class_counts: images of each class, int64 (classes,).
        class_means: float64 (classes, height, width, channels), 0 for a class without images.
        levels: how often each level occurs in each channel, int64 (channels, 256).
        constant: where every image has the same value, bool (height, width).
        single_shade: which images are of a single colour, bool (count,).
        digests: 128 bits of each image, uint64 (count, 2).
        hashes: the perceptual hash of each image, uint64 (count,).
    """

    class_counts: Counts
    class_means: Floats
    levels: Counts
    constant: npt.NDArray[np.bool_]
    single_shade: npt.NDArray[np.bool_]
    digests: Hashes
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True)
class Repeats:
    """Images that are in the data set more than once, one pair for each later image.

    Attributes:
        copies: the same pixels; the first image that has them comes first.
        alike: nearly the same; of the images that come before it, the one most like it.
    """

    copies: Pairs
    alike: Pairs


Relation: TypeAlias = tuple[Part, Part]
"""The part of the earlier image, and that of the later one."""


@dataclass(frozen=True)
class Card:
    """What is in a data set.

    Attributes:
        parts: by name, those that there are.
        repeats: within each part, and between train and test; places are within their part. A copy has one
            pair: a test image that is in the train part is not among those within the test part.
    """

    parts: Mapping[Part, PartCard]
    repeats: Mapping[Relation, Repeats]


def describe(
    parts: Mapping[Part, LabelledImages], class_count: int, advance: Callable[[int], object]
) -> Card:
    """The card of a data set.

    Args:
        parts: train and, where there is one, test.
        class_count: how many classes there are.
        advance: is told of each piece: so many images more are described.
    """
    cards = {name: describe_part(part, class_count, advance) for name, part in parts.items()}
    names = list(cards)
    starts = np.cumsum([0, *(len(card) for card in cards.values())])
    copies = find_copies(np.concatenate([card.digests for card in cards.values()]))
    alike = _find_alike([part.images for part in parts.values()], list(cards.values()), starts, copies)

    repeats: dict[Relation, Repeats] = {}
    for relation in itertools.combinations_with_replacement(range(len(names)), 2):
        of_these = (
            pairs[(_owners(starts, pairs) == relation).all(axis=1)] - starts[list(relation)]
            for pairs in (copies, alike)
        )
        repeats[names[relation[0]], names[relation[1]]] = Repeats(*of_these)
    return Card(cards, repeats)


def describe_part(part: LabelledImages, class_count: int, advance: Callable[[int], object]) -> PartCard:
    """What is in one part, in one pass over its images.

    Args:
        part: its images and labels.
        class_count: labels run from 0 to one less.
        advance: as above.
    """
    count, (height, width, channels) = len(part), part.images.shape[1:]
    sums = np.zeros((class_count, height * width * channels))
    levels = np.zeros((channels, 256), dtype=np.int64)
    lowest, highest = (
        np.full((height, width, channels), 255, np.uint8),
        np.zeros((height, width, channels), np.uint8),
    )
    single_shade = np.zeros(count, dtype=np.bool_)
    digests, hashes = np.empty((count, 2), np.uint64), np.empty(count, np.uint64)
    waves = _cosines(height), _cosines(width)
    for rows in _pieces(count, part.images[0].nbytes):
        images = np.ascontiguousarray(part.images[rows])
        flat = images.reshape(len(images), -1)
        for channel in range(channels):
            levels[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
        np.minimum(lowest, images.min(axis=0), out=lowest)
        np.maximum(highest, images.max(axis=0), out=highest)
        one_hot = (part.labels[rows] == np.arange(class_count)[:, None]).astype(np.float32)
        sums += one_hot @ flat.astype(np.float32)
        single_shade[rows] = (flat.reshape(len(images), -1, channels) == flat[:, None, :channels]).all(
            axis=(1, 2)
        )
        digests[rows] = _digests(flat)
        hashes[rows] = _hashes(_grey(images), *waves)
        advance(len(images))
    class_counts = np.bincount(part.labels, minlength=class_count)
    means = sums / np.maximum(class_counts, 1)[:, None]
    return PartCard(
        class_counts,
        means.reshape(class_count, height, width, channels),
        levels,
        (lowest == highest).all(axis=-1),
        single_shade,
        digests,
        hashes,
    )


def find_copies(digests: Hashes) -> Pairs:
    """For each image whose digest (count, 2) an earlier one has: the first one that has it, and itself."""
    order = np.lexsort(digests.T)  # stable: equal ones stay in the order in which they came
    ordered = digests[order]
    starts = np.ones(len(order), dtype=np.bool_)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    firsts = order[starts][np.cumsum(starts) - 1]
    pairs = np.stack([firsts, order], axis=1)[~starts]
    return pairs[np.argsort(pairs[:, 1])]


def find_candidates(hashes: Hashes) -> Iterator[Pairs]:
    """Pairs of images whose hashes (count,) differ in a few bits: nearly all of them, some more than once.

    Takes time in proportion to count × log(count). They come in batches, so that memory is bounded.
    """
    count, waiting = len(hashes), [np.empty(0, np.int64)]  # a pair as earlier × count + later
    for rotation in range(0, 64, 64 // _ROTATIONS):
        turned = (hashes << np.uint64(rotation)) | (hashes >> np.uint64((64 - rotation) % 64))
        order = np.argsort(turned, kind="stable")
        ordered = hashes[order]
        for step in range(1, _NEIGHBOURS + 1):
            different = np.bitwise_count(ordered[step:] ^ ordered[:-step])
            near = np.flatnonzero(different <= _MOST_DIFFERENT_BITS)
            one, other = order[near], order[near + step]
            waiting.append(np.minimum(one, other) * count + np.maximum(one, other))
            if sum(map(len, waiting)) > _MOST_WAITING:
                yield _distinct_pairs(np.concatenate(waiting), count)
                waiting.clear()
    if any(map(len, waiting)):
        yield _distinct_pairs(np.concatenate(waiting), count)


def _distinct_pairs(codes: Integers, count: int) -> Pairs:
    codes = np.sort(codes)  # many times as fast as np.unique, which hashes
    return np.stack(np.divmod(codes[np.diff(codes, prepend=-1) > 0], count), axis=1)


def correlations(first: Array, second: Array) -> Floats:
    """How alike grey images (count, height, width) are, by pairs, from -1 to 1; of one shade: 0."""
    one, other = (np.asarray(images, dtype=np.float32).reshape(len(images), -1) for images in (first, second))
    one, other = (side - side.mean(axis=1, keepdims=True) for side in (one, other))
    norm: Floats = np.sqrt(np.einsum("ij,ij->i", one, one) * np.einsum("ij,ij->i", other, other))
    likeness: Floats = np.divide(
        np.einsum("ij,ij->i", one, other), norm, out=np.zeros_like(norm), where=norm > 0
    )
    return likeness


def _find_alike(images: Sequence[Array], cards: Sequence[PartCard], starts: Integers, copies: Pairs) -> Pairs:
    """For each image, and each part that has earlier ones like it: the one most like it."""
    usable = ~np.concatenate([card.single_shade for card in cards])
    usable[copies[:, 1]] = False  # of equal images the first one is enough
    chosen = np.flatnonzero(usable)
    best: Pairs = np.empty((0, 2), np.int64)
    values: Floats = np.empty(0, np.float32)
    for candidates in find_candidates(np.concatenate([card.hashes for card in cards])[chosen]):
        for rows in _pieces(len(candidates), 8 * images[0][0].nbytes):
            pairs = chosen[candidates[rows]]
            likeness = correlations(*(_grey(_gather(images, starts, side)) for side in pairs.T))
            alike = likeness >= LEAST_CORRELATION
            best, values = np.concatenate([best, pairs[alike]]), np.concatenate([values, likeness[alike]])
        order = np.lexsort((-values, best[:, 1]))
        best, values = best[order], values[order]
        keys = best[:, 1] * len(images) + _owners(starts, best[:, 0])
        first = np.sort(np.unique(keys, return_index=True)[1])
        best, values = best[first], values[first]
    return best


def _owners(starts: Integers, places: Integers) -> Integers:
    """In which part each image is, of parts that begin at `starts`."""
    return np.searchsorted(starts, places, side="right") - 1


def _gather(images: Sequence[Array], starts: Integers, places: Integers) -> Array:
    gathered = np.empty((len(places), *images[0].shape[1:]), np.uint8)
    for part, start, end in zip(images, starts[:-1], starts[1:], strict=True):
        own = (places >= start) & (places < end)
        gathered[own] = part[places[own] - start]
    return gathered


def _pieces(count: int, bytes_each: int) -> Iterator[slice]:
    step = max(1, min(_MOST_IN_A_PIECE, _PIECE_BYTES // bytes_each))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _digests(flat: Array) -> Hashes:
    return np.frombuffer(
        b"".join(hashlib.blake2b(image, digest_size=16).digest() for image in flat), np.uint64
    ).reshape(-1, 2)


def _grey(images: Array) -> Floats:
    # Adding channel by channel is many times as fast as a mean over so short an axis.
    total: Floats = np.zeros(images.shape[:-1], np.float32)
    for channel in range(images.shape[-1]):
        total += images[..., channel]
    total /= images.shape[-1]
    return total


def _cosines(size: int) -> Floats:
    """The lowest frequencies of a line of `size` pixels: the rows of a discrete cosine transform."""
    middles = (np.arange(size) + 0.5) / size
    return (np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), middles)) / size).astype(np.float32)


def _hashes(grey: Floats, down: Floats, across: Floats) -> Hashes:
    """64 bits of each grey image (count, height, width): which of its lowest frequencies are above 0."""
    frequencies = down @ grey @ across.T
    return np.packbits((frequencies > _FAINTEST).reshape(len(grey), -1), axis=1).view(np.uint64)[:, 0]
