import io
import pickle
import tarfile

import numpy as np
import pytest

from pipeline.core.descriptions import describe, harmless, shorten


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
