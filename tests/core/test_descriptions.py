import io
import pickle
import tarfile

import numpy as np
import pytest

from pipeline.core.descriptions import describe, harmless, nearest, shorten


def _tar() -> bytes:
    with io.BytesIO() as buffer, tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("name"))
        return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", "nothing (an empty file)"),
        (b"\x1f\x8b\x08", "gzip data"),
        (_tar(), "a tar archive"),
        (_npy(), "a NumPy .npy array"),
        (pickle.dumps([1], 4), "a pickle"),
        (b"\x00\x00\x08\x03\x00", "idx data"),
        (b"\n <!DOCTYPE html><html>", "an HTML page, perhaps a server's error message"),
        (b"<HTML><head>", "an HTML page, perhaps a server's error message"),
        (b"<?xml version", "an XML or HTML document, perhaps a server's error message"),
        (b"hello,\nworld", "text that begins 'hello,\\nworld'"),
        (b"\xfe\xed\xfa\xce\x00", "data that begins with the bytes fe ed fa ce"),
    ],
)
def test_names_what_a_file_begins_with(head: bytes, expected: str) -> None:
    assert describe(head) == expected


def test_shortens_to_one_printable_line() -> None:
    assert shorten("a\nb\x1b[31m", 20) == "a?b?[31m"
    assert shorten("x" * 30, 5) == "xxxxx..."


def test_text_cannot_steer_a_terminal() -> None:
    assert harmless("a\x1b[2J\rb\x9b\u202ec\nd é お") == "a?[2J?b??c\nd é お"


@pytest.mark.parametrize(
    ("name", "others", "expected"),
    [
        ("a-idx3-ubyte.gz", ["a-idx3-ubyte (1).gz"], "a-idx3-ubyte (1).gz"),
        ("a-idx3-ubyte.gz", ["a.idx3-ubyte"], "a.idx3-ubyte"),
        ("a-idx3-ubyte.gz", ["a-idx3-ubyte.gz.crdownload"], "a-idx3-ubyte.gz.crdownload"),
        ("a-idx3-ubyte.gz", ["A-IDX3-UBYTE.GZ"], "A-IDX3-UBYTE.GZ"),
        ("train-images-idx3-ubyte.gz", ["train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"], None),
        ("f/data_batch_1", ["data_batch_1.txt", "x/f/data_batch_1"], "x/f/data_batch_1"),
        ("f/data_batch_1", ["f/data_batch_2", "f/test_batch", "f/data_batch_1"], None),
        ("name", [], None),
    ],
)
def test_the_name_that_is_meant(name: str, others: list[str], expected: str | None) -> None:
    assert nearest(name, others) == expected
