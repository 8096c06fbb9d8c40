"""parse: the files that fetch brought become arrays, once they are what conf/ promises."""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.config.compose import read_dataset
from pipeline.core.errors import ConfigError, FormatError
from pipeline.core.files import images
from pipeline.core.paths import Layout
from pipeline.stages import parse
from pipeline.stages.shared.context import DatasetContext

Run = Callable[..., Any]


@pytest.fixture
def fetched(checkout: Layout, tiny: Any) -> Layout:  # noqa: ANN401  (of conftest.py)
    shutil.copytree(tiny.raw, checkout.raw("official", "tiny"))
    return checkout


def test_the_arrays_are_those_that_were_drawn(fetched: Layout, cli: Run, tiny: Any) -> None:  # noqa: ANN401  (as above)
    ended = cli("parse", "tiny", "--source", "official")
    assert (ended.code, ended.out, ended.err) == (0, "", "a few digits: 200 training and 100 test images\n")
    folder = fetched.parsed("official", "tiny")
    train, test = (images.load(folder, part) for part in images.PARTS)
    np.testing.assert_array_equal(train.images, tiny.drawing.train_images)
    np.testing.assert_array_equal(train.labels, tiny.drawing.train_labels)
    np.testing.assert_array_equal(test.images, tiny.drawing.test_images)
    np.testing.assert_array_equal(test.labels, tiny.drawing.test_labels)
    written = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.npy")}
    expected = {path.relative_to(tiny.parsed): path.read_bytes() for path in tiny.parsed.rglob("*.npy")}
    assert written == expected


@pytest.mark.parametrize(
    ("override", "error", "said"),
    [
        ("sources.official.train_count=199", FormatError, "expected 199 train images, found 200"),
        ("sources.official.test_count=101", FormatError, "expected 101 test images, found 100"),
        ("image_shape=[28,28,3]", FormatError, "expected images as uint8"),
        ("sources.official.classes=[a,b]", FormatError, "expected labels from 0 to 1, found "),
        ("format=nope", ConfigError, "format=nope: unknown; one of idx"),
        ("format=cifar10", ConfigError, "format=cifar10: expected the files archive, found train_images, "),
    ],
)
def test_files_that_are_not_what_conf_promises(
    fetched: Layout, override: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        parse.run(DatasetContext(fetched, read_dataset(fetched.conf, "tiny", [override]), "official"))
    assert said in str(caught.value)


def test_a_file_that_conf_forgets(fetched: Layout) -> None:
    path = fetched.conf / "dataset" / "tiny.yaml"
    path.write_text(
        "".join(line for line in path.read_text().splitlines(keepends=True) if "test_labels" not in line)
    )
    with pytest.raises(ConfigError) as caught:
        parse.run(DatasetContext(fetched, read_dataset(fetched.conf, "tiny"), "official"))
    assert str(caught.value) == (
        "format=idx: expected the files train_images, train_labels, test_images, test_labels,"
        " found train_images, train_labels, test_images"
    )
