"""One look-up for every registry: the entry, or one line with what there is."""

import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.registry import check_name, look_up

REGISTRY = {"sgd": 1, "momentum": 2, "adam": 3}


def test_a_name_gives_its_entry() -> None:
    assert {name: look_up(REGISTRY, "optimizer.name", name) for name in REGISTRY} == REGISTRY


@pytest.mark.parametrize(
    ("key", "name", "said"),
    [
        ("optimizer.name", "x", "optimizer.name=x: unknown; one of sgd, momentum, adam"),
        ("--optimizer", "x", "--optimizer x: unknown; one of sgd, momentum, adam"),
        (
            "optimizer.name",
            "adm",
            "optimizer.name=adm: unknown; one of sgd, momentum, adam; did you mean adam?",
        ),
        ("optimizer.name", "", "optimizer.name=: unknown; one of sgd, momentum, adam"),
        ("optimizer.name", "a\nb", "optimizer.name=a?b: unknown; one of sgd, momentum, adam"),
    ],
)
def test_an_unknown_name_is_told_with_those_that_there_are(key: str, name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        look_up(REGISTRY, key, name)
    assert str(caught.value) == said
    with pytest.raises(ConfigError) as caught:
        check_name(list(REGISTRY), key, name)
    assert str(caught.value) == said


def test_a_long_name_is_cut_short() -> None:
    with pytest.raises(ConfigError) as caught:
        look_up(REGISTRY, "optimizer.name", "x" * 10_000)
    assert len(str(caught.value)) < 300
