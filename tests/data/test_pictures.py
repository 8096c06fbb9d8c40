"""The same drawing in every mode and format is the same; what is no image, or too much of one, is refused."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.core.errors import FormatError, PipelineError
from pipeline.data import pictures
from tests.shared import with_palette

Array = npt.NDArray[Any]

DECODER = pictures.Decoder()  # one process for all tests


@pytest.fixture(scope="module", autouse=True)
def _ended_decoder() -> Iterator[None]:
    yield
    DECODER.close()


GREY = (np.add.outer(np.arange(30) * 5, np.arange(20) * 3) % 256).astype(np.uint8)
TWO_TONE = np.where(np.add.outer(np.arange(30), np.arange(20)) % 7 < 3, 255, 0).astype(np.uint8)


def expected(grey: Array) -> Array:
    return np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1).astype(np.float32)


def with_opacity(grey: Array) -> Image.Image:
    return Image.merge("LA", (Image.fromarray(grey), Image.new("L", grey.shape[::-1], 255)))


PLAIN = Image.fromarray(GREY)

EXACT: dict[str, tuple[Image.Image, str]] = {
    "grey": (PLAIN, "a.png"),
    "RGB": (PLAIN.convert("RGB"), "a.png"),
    "RGBA": (PLAIN.convert("RGBA"), "a.png"),
    "grey and opacity": (with_opacity(GREY), "a.png"),
    "palette": (with_palette(GREY), "a.png"),
    "16 bits": (Image.fromarray(GREY.astype(np.uint16) * 257), "a.png"),
    "16 bits, TIFF": (Image.fromarray(GREY.astype(np.uint16) * 257), "a.tif"),
    "32 bits": (Image.fromarray(GREY.astype(np.int32) * 257), "a.tiff"),
    "16 bits holding 8": (Image.fromarray(GREY.astype(np.uint16)), "a.png"),
    "bitmap": (PLAIN, "a.bmp"),
    "GIF": (PLAIN, "a.gif"),
    "portable": (PLAIN, "a.pgm"),
    "WebP": (PLAIN.convert("RGB"), "a.webp"),
}


@pytest.mark.parametrize("name", EXACT)
def test_every_lossless_kind_of_image_is_read_alike(name: str, tmp_path: Path) -> None:
    image, file = EXACT[name]
    image.save(tmp_path / file, **({"lossless": True} if file.endswith("webp") else {}))
    found = DECODER.read(tmp_path / file)
    assert (found.dtype, found.shape) == (np.float32, (30, 20, 4))
    np.testing.assert_allclose(found, expected(GREY), atol=1e-4)


@pytest.mark.parametrize("file", ["a.png", "a.pbm", "a.tif", "a.bmp"])
def test_two_tone_images(file: str, tmp_path: Path) -> None:
    image = Image.fromarray(TWO_TONE).convert("1")
    assert image.mode == "1"
    image.save(tmp_path / file)
    np.testing.assert_array_equal(DECODER.read(tmp_path / file), expected(TWO_TONE))


@pytest.mark.parametrize(("mode", "tolerance"), [("L", 6), ("RGB", 6), ("CMYK", 6)])
def test_jpegs_are_read_about_alike(mode: str, tolerance: int, tmp_path: Path) -> None:
    smooth = Image.fromarray(np.add.outer(np.arange(30) * 5, np.arange(20) * 3).astype(np.uint8))
    smooth.convert(mode).save(tmp_path / "a.jpg", quality=95)
    found = DECODER.read(tmp_path / "a.jpg")
    assert np.abs(found - expected(np.asarray(smooth))).max() < tolerance


def test_numbers_without_a_known_range_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-1.0, 0.0], [1.0, 3.0]], np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_allclose(
        DECODER.read(tmp_path / "a.tif")[..., 0], [[0, 63.75], [127.5, 255]], atol=1e-3
    )
    Image.fromarray(np.array([[np.nan, 1.0]], np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(FormatError, match="not finite numbers"):
        DECODER.read(tmp_path / "b.tif")


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    PLAIN.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(
        DECODER.read(tmp_path / "a.png")[..., 0], np.rot90(GREY, -1).astype(np.float32)
    )


def test_of_several_frames_the_first_is_taken(tmp_path: Path) -> None:
    PLAIN.save(tmp_path / "a.gif", save_all=True, append_images=[Image.fromarray(255 - GREY)])
    np.testing.assert_array_equal(DECODER.read(tmp_path / "a.gif"), expected(GREY))


@pytest.mark.parametrize("scale", [1, 257])
def test_a_large_image_is_averaged_down(scale: int, tmp_path: Path) -> None:
    large = np.kron(TWO_TONE[:6, :4], np.ones((900, 30), np.uint8))
    levels = large if scale == 1 else large.astype(np.uint16) * scale
    Image.fromarray(levels).save(tmp_path / "a.png")
    found = DECODER.read(tmp_path / "a.png")
    assert found.shape == (900, 20, 4)
    np.testing.assert_allclose(found[..., 0], np.kron(TWO_TONE[:6, :4], np.ones((150, 5))), atol=1e-3)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that only claims its size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def saved(image: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    name, _, kind = form.partition("-")
    image.save(stream, format=name, **({"progressive": True} if kind else {}))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "expected an image .*, found nothing"),
        (b"seven", "expected an image .*, found text that begins 'seven'"),
        (b"<html><body>404", "expected an image .*, found an HTML page"),
        (b"\x80\x04]\x94.", "expected an image .*, found a pickle"),
        (saved(PLAIN, "EPS"), "expected an image .*, found text that begins '%!PS"),
        (saved(PLAIN, "PDF"), "expected an image .*, found text that begins '%PDF"),
        (saved(PLAIN, "PNG")[:60], "damaged image"),
        (saved(PLAIN, "PNG")[:20], "damaged image"),
        (b"\xff\xd8\xff\x00and so on", "damaged image: it begins as a JPEG image"),
        (saved(PLAIN, "JPEG")[:300], "damaged image"),
        (png_of_size(10, 10), "damaged image"),
        (png_of_size(9000, 9000), r"at most 67,108,864 pixels, found 9,000 × 9,000"),
        (png_of_size(11_000, 11_000), r"at most 67,108,864 pixels, found 11,000 × 11,000"),
        (png_of_size(2**30, 2**30), r"at most 67,108,864 pixels, found far more"),
    ],
)
def test_what_is_no_image_is_refused_in_a_line(data: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(FormatError, match=found) as caught:
        DECODER.read(tmp_path / "a.png")
    assert str(caught.value).startswith(f"{tmp_path / 'a.png'}: ")
    assert "\n" not in str(caught.value)


@given(
    st.integers(0, 400),
    st.binary(min_size=1, max_size=3),
    st.sampled_from(["PNG", "GIF", "BMP", "TIFF", "PPM"]),
)
def test_damaged_images_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes, form: str
) -> None:
    data = bytearray(saved(PLAIN, form))
    data[place : place + len(change)] = change
    path = tmp_path_factory.getbasetemp() / f"damaged.{form}"
    path.write_bytes(bytes(data))
    try:
        levels = DECODER.read(path)
    except FormatError as error:
        assert "\n" not in str(error)  # noqa: PT017  (an array is as good an answer)
    else:
        assert levels.shape[2] == 4


def progressive(scans: int) -> bytes:
    """A JPEG of 4,000 × 4,000 pixels whose last scan, of a few bytes, is there again and again."""
    data = saved(Image.new("L", (4000, 4000), 128), "JPEG-progressive")
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def tiled() -> bytes:
    """A TIFF of one pixel in a tile of 32,768 × 32,768."""
    entries = [
        (256, 1), (257, 1), (258, 8), (259, 8), (262, 1), (277, 1),
        (322, 32768), (323, 32768), (324, 200), (325, 8),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in entries)
    head = b"II*\0" + struct.pack("<LH", 8, len(entries)) + table + b"\0" * 4
    return head.ljust(200, b"\0") + zlib.compress(b"")


@pytest.mark.slow
def test_a_decoder_has_limited_time_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(progressive(100_000))
    with pytest.raises(FormatError, match=r"a: expected an image that is decoded in 3 s"):
        DECODER.read(path)
    path.write_bytes(saved(Image.new("RGBA", (8192, 8192)), "PNG"))
    with pytest.raises(FormatError, match=r"a: expected an image that is decoded in 400 MiB"):
        DECODER.read(path)
    path.write_bytes(tiled())
    with pytest.raises(FormatError, match=r"a: (damaged image|expected an image)"):
        DECODER.read(path)
    # The next picture is none the worse for it.
    path.write_bytes(saved(PLAIN, "PNG"))
    np.testing.assert_array_equal(DECODER.read(path), expected(GREY))


@pytest.mark.parametrize("size", [100, 10_000_000])
def test_a_decoder_that_was_killed_is_told_and_replaced(tmp_path: Path, size: int) -> None:
    """What is left of an image in the pipe to it is no second error."""
    with pictures.decoder() as images:
        picture = saved(PLAIN, "PNG")
        images.decode(picture, tmp_path / "a")
        images._process.kill()
        images._process.wait()
        with pytest.raises(FormatError, match=r"a: damaged image: its decoder ended with code -9$"):
            images.decode(bytes(size), tmp_path / "a")
        np.testing.assert_array_equal(images.decode(picture, tmp_path / "a"), expected(GREY))


def test_a_large_photograph_stays_within_the_limits(tmp_path: Path) -> None:
    Image.new("RGB", (8192, 8000), (10, 20, 30)).save(tmp_path / "a.jpg")
    found = DECODER.read(tmp_path / "a.jpg")
    assert found.shape[:2] <= (1024, 1024)
    assert np.abs(found[0, 0] - [10, 20, 30, 255]).max() < 3


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="No such file"):
        DECODER.read(tmp_path / "none.png")
    with pytest.raises(FormatError, match="expected a file, found a folder"):
        DECODER.read(tmp_path)


def test_a_folder_stands_for_its_images(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "c.txt", ".hidden.png", "Thumbs.db"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()
    found = pictures.find([tmp_path / "c.txt", tmp_path])
    assert [path.name for path in found] == ["c.txt", "a.jpeg", "b.PNG"]
    with pytest.raises(PipelineError, match="no image in this folder"):
        pictures.find([tmp_path / "d.png"])


def test_pillow_is_left_as_it_was(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    before = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(png_of_size(11_000, 11_000))
    with pytest.raises(FormatError):
        DECODER.read(tmp_path / "a.png")
    assert before == Image.MAX_IMAGE_PIXELS
    assert not recwarn.list
