"""compose: params.yaml and conf/ become one configuration in full, or nothing is written."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import compose as compose_module
from pipeline.config.compose import compose as composed
from pipeline.config.compose import read_config, read_dataset, to_yaml
from pipeline.core.errors import ConfigError
from pipeline.core.paths import Layout
from pipeline.stages import compose
from pipeline.stages.shared.context import Context

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
    compose.run(Context(checkout, "tiny"))
    config = read_config(checkout.results("tiny").config)
    assert (config.optimizer.name, config.model.hidden, config.seed) == ("adam", [3, 4], 5)
    assert config.source == "official"


def test_the_data_set_in_params_wins(checkout: Layout) -> None:
    entry(checkout, "{dataset: mnist}")
    checkout.params.write_text(
        checkout.params.read_text().replace("datasets: [tiny]", "datasets: [mnist, tiny]")
    )
    compose.run(Context(checkout, "tiny"))
    assert read_config(checkout.results("tiny").config).dataset.name == "mnist"


@pytest.mark.parametrize(
    ("text", "said"),
    [
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
        compose.run(Context(checkout, "tiny"))
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert not checkout.results("tiny").folder.exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "tiny: {dataset: tiny}",
            "tiny: {dataset: fashion_mnist}",
            "experiments.tiny.dataset: fashion_mnist is not among `datasets` (tiny): add it there",
        ),
        (
            "datasets: [tiny]",
            "datasets: [mnist]",
            "experiments.tiny.dataset: tiny is not among `datasets` (mnist): add it there",
        ),
        (
            "tiny: {dataset: tiny}",
            "tiny: {dataset: nope}",
            "experiments.tiny.dataset: nope: there is no conf/dataset/nope.yaml",
        ),
        ("datasets: [tiny]", "datasets: [tiny, nope]", "datasets: nope: there is no conf/dataset/nope.yaml"),
        ("tiny_grid: {", "nope: {", "experiments: nope: there is no conf/experiment/nope.yaml"),
    ],
)
@pytest.mark.parametrize("command", [["compose", "tiny"], ["check-params"], ["repro"], ["results"]])
def test_a_selection_that_cannot_be_run_is_told_first_and_in_a_line(
    checkout: Layout, cli: Run, command: list[str], old: str, new: str, said: str
) -> None:
    checkout.params.write_text(checkout.params.read_text().replace(old, new))
    ended = cli(*command)
    assert (ended.code, ended.err) == (2, f"pipeline: {checkout.params}: {said}\n")


def test_a_failure_leaves_the_file_of_before(checkout: Layout) -> None:
    compose.run(Context(checkout, "tiny"))
    before = checkout.results("tiny").config.read_bytes()
    entry(checkout, "{dataset: tiny, seed: -1}")
    with pytest.raises(ConfigError):
        compose.run(Context(checkout, "tiny"))
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
    with pytest.raises(
        ConfigError, match=r"^training needs up to [\d,.]+ GB of memory, and this machine has "
    ):
        compose.run(Context(checkout, "tiny"))


@pytest.mark.parametrize(
    "reference",
    [
        "${oc.decode:${oc.env:LR}}",
        "${oc.decode:${oc.env:LR,0.1}}",
        "${oc.decode:0.${now:%S}}",
        "${python_version:major}",
    ],
)
@pytest.mark.parametrize("place", ["params.yaml", "conf/experiment/tiny.yaml", "conf/optimizer/sgd.yaml"])
def test_what_is_in_no_file_is_refused_where_dvc_decides_what_to_run(
    checkout: Layout, cli: Run, monkeypatch: pytest.MonkeyPatch, place: str, reference: str
) -> None:
    monkeypatch.setenv("LR", "0.3")
    path = checkout.root / place
    text = path.read_text()
    if place == "params.yaml":
        text = text.replace(
            "tiny: {dataset: tiny}", f"tiny: {{dataset: tiny, optimizer: {{learning_rate: '{reference}'}}}}"
        )
    elif "experiment" in place:
        text += f"optimizer:\n  learning_rate: {reference}\n"
    else:
        text = re.sub(r"learning_rate: .*", f"learning_rate: {reference}", text)
    assert text != path.read_text()
    path.write_text(text)
    ended = cli("compose", "tiny")
    assert ended.code == 2
    assert re.fullmatch(
        r"pipeline: optimizer\.learning_rate: \$\{.*\} is not in any file, .*\n", ended.err
    ), ended.err
    assert not checkout.results("tiny").config.exists()


def test_a_choice_by_the_environment_is_refused(checkout: Layout, cli: Run) -> None:
    path = checkout.params
    path.write_text(
        path.read_text().replace("{dataset: tiny}", "{dataset: tiny, optimizer: '${oc.env:OPTIMIZER,adam}'}")
    )
    ended = cli("compose", "tiny")
    assert "${oc.env:OPTIMIZER,adam} is not in any file" in ended.err


def test_a_data_set_is_defined_by_its_file_alone(checkout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNT", "200")
    path = checkout.conf / "dataset" / "tiny.yaml"
    path.write_text(path.read_text().replace("train_count: 200", "train_count: ${oc.decode:${oc.env:COUNT}}"))
    with pytest.raises(ConfigError, match=r"tiny\.yaml: found \$\{…\}, expected plain values"):
        read_dataset(checkout.conf, "tiny")


def test_references_to_the_environment_work_again_afterwards(
    checkout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LR", "0.25")
    overrides = ["experiment=tiny", "optimizer.learning_rate='${oc.decode:${oc.env:LR}}'"]
    with pytest.raises(ConfigError, match="is not in any file"):
        compose_module.compose(checkout.conf, overrides)
    composed = compose_module.compose(checkout.conf, overrides, from_environment=True)
    assert composed.optimizer.learning_rate == 0.25
    assert "learning_rate: 0.25" in compose_module.to_yaml(composed)


def test_numbers_and_names_that_dvc_reads_otherwise_are_refused(checkout: Layout, cli: Run) -> None:
    before = checkout.params.read_text()
    for old, new, said in (
        ("{dataset: tiny} # quick", "{dataset: tiny, seed: 0100}", "experiments.tiny.seed: 0100 is octal"),
        ("tiny_grid: {", "on: {", "experiments.on: DVC does not read this key as text: quote it: 'on'"),
        ("tiny_grid: {", "2024: {", "experiments.2024: DVC does not read"),
    ):
        checkout.params.write_text(before.replace(old, new))
        ended = cli("compose", "tiny")
        assert said in ended.err
        assert (ended.code, ended.err.count("\n")) == (2, 1)


def test_files_outside_conf_are_refused(checkout: Layout, cli: Run, tmp_path: Path) -> None:
    """DVC hashes conf/, and would skip the stage after an edit of any other file."""
    (tmp_path / "outside.yaml").write_text("name: sgd\nlearning_rate: 0.7\n")
    shutil.copy(tmp_path / "outside.yaml", checkout.root / "outside.yaml")
    params = checkout.params.read_text()
    checkout.params.write_text(
        params.replace("tiny: {dataset: tiny}", "tiny: {dataset: tiny, optimizer: ../../outside}")
    )
    ended = cli("compose", "tiny")
    assert ended.code == 2
    assert "optimizer=../../outside: expected a file of " in ended.err
    checkout.params.write_text(params)
    config = checkout.conf / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("\nhydra:\n", f"\nhydra:\n  searchpath: ['file://{tmp_path}']\n"))
    assert config.read_text() != text
    assert "hydra.searchpath=" in cli("compose", "tiny").err
