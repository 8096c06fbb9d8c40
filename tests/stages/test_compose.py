"""compose: params.yaml and conf/ become one configuration in full, or nothing is written."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.config.compose import compose as composed
from pipeline.config.compose import read_config, to_yaml
from pipeline.core.errors import ConfigError
from pipeline.core.paths import Layout
from pipeline.stages import compose

Run = Callable[..., Any]


def entry(layout: Layout, text: str) -> None:
    """Another entry for the experiment `tiny` in params.yaml."""
    layout.params.write_text(layout.params.read_text().replace("tiny: {dataset: tiny}", f"tiny: {text}"))


def test_the_file_is_the_configuration_in_full(checkout: Layout, cli: Run) -> None:
    ended = cli("compose", "tiny")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    path = checkout.results("tiny").config
    expected = composed(checkout.conf, ["experiment=tiny"])
    assert read_config(path) == expected
    assert path.read_text() == to_yaml(expected)
    assert "hydra" not in path.read_text()
    assert str(checkout.root) not in path.read_text()


def test_it_follows_params(checkout: Layout) -> None:
    entry(checkout, "{dataset: tiny, optimizer: adam, model: {hidden: [3, 4]}, seed: 5}")
    checkout.params.write_text(checkout.params.read_text().replace("source: bundled", "source: official"))
    config = compose.run(checkout, "tiny")
    assert (config.optimizer.name, config.model.hidden, config.seed) == ("adam", [3, 4], 5)
    assert config.source == "official"
    assert read_config(checkout.results("tiny").config) == config


def test_the_data_set_in_params_wins(checkout: Layout) -> None:
    entry(checkout, "{dataset: mnist}")
    assert compose.run(checkout, "tiny").dataset.name == "mnist"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{dataset: nope}", "dataset=nope: no such choice; one of cifar10, "),
        ("{dataset: tiny, name: other}", "name=other: expected tiny, the experiment's name in params.yaml"),
        (
            "{dataset: tiny, optimizer: {momentum: 0.9}}",
            "optimizer.momentum: the chosen optimizer has no such",
        ),
        ("{dataset: tiny, split: {name: nope}}", "split.name=nope: unknown; one of head_tail, stratified"),
        ("{dataset: tiny, preprocess: {name: nope}}", "preprocess.name=nope: unknown; one of none, unit, "),
        ("{dataset: tiny, runtime: {name: nope}}", "runtime.name=nope: unknown; one of portable, "),
        ("{dataset: tiny, random: nope}", "random=nope: unknown; one of generator, legacy"),
        (
            "{dataset: tiny, training: {sampling: nope}}",
            "training.sampling=nope: unknown; one of replacement, ",
        ),
        ("{dataset: tiny, search: grid}", "search.space: empty, and search.name=grid has nothing to try"),
        ("{dataset: tiny, search: {name: nope}}", "search.name=nope: unknown; one of none, grid"),
        (
            "{dataset: tiny, search: {space: {seed: [1]}}}",
            "search.space: given, but search.name=none tries nothing",
        ),
        (
            "{dataset: tiny, search: {name: grid, space: {modle: {hidden: [[1]]}}}}",
            "search.space.modle.hidden: no such key; did you mean search.space.model.hidden?",
        ),
        (
            "{dataset: tiny, search: {name: grid, space: {optimizer: {learning_rate: [1, -1]}}}}",
            "optimizer.learning_rate=-1.0: expected a positive number",
        ),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(checkout: Layout, text: str, said: str) -> None:
    entry(checkout, text)
    with pytest.raises(ConfigError) as caught:
        compose.run(checkout, "tiny")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert not checkout.results("tiny").folder.exists()


def test_a_failure_leaves_the_file_of_before(checkout: Layout) -> None:
    compose.run(checkout, "tiny")
    before = checkout.results("tiny").config.read_bytes()
    entry(checkout, "{dataset: tiny, seed: -1}")
    with pytest.raises(ConfigError):
        compose.run(checkout, "tiny")
    assert checkout.results("tiny").config.read_bytes() == before


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00"])
def test_params_that_cannot_be_read(checkout: Layout, cli: Run, text: str) -> None:
    checkout.params.write_text(text)
    ended = cli("compose", "tiny")
    assert ended.err.startswith(f"pipeline: {checkout.params}: ")
    assert ended.err.count("\n") == 1
    assert ended.code == 2


def test_a_network_too_large_for_this_machine_is_told_before_anything_is_allocated(checkout: Layout) -> None:
    entry(checkout, "{dataset: tiny, model: {hidden: [1000000, 1000]}, training: {batch_size: 2000000000}}")
    with pytest.raises(ConfigError, match=r"^training needs [\d,.]+ GB of memory, and this machine has "):
        compose.run(checkout, "tiny")
