"""runs: the runs apart from DVC."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.shared import runs
from pipeline.config.build import with_values
from pipeline.config.compose import to_yaml
from pipeline.config.schema import Config
from pipeline.core.files.atomic import write_text
from pipeline.core.files.tables import write_json
from pipeline.core.paths import Layout

Run = Callable[..., Any]


@pytest.fixture
def add(checkout: Layout, configs: dict[str, Config]) -> Callable[..., Path]:
    """Adds a run of the experiment `tiny`."""

    def add(
        name: str,
        values: dict[str, Any],
        figures: dict[str, float] | None = None,
        overrides: list[str] | None = None,
    ) -> Path:
        folder = checkout.root / "runs" / name
        write_text(folder / "config.yaml", to_yaml(with_values(configs["tiny"], values)))
        if figures is not None:
            write_json(folder / "metrics.json", figures)
        if overrides is not None:
            write_text(folder / "overrides.yaml", json.dumps(overrides))
        return folder

    return add


def test_each_run_with_what_differs_and_its_accuracies(add: Callable[..., Path], cli: Run) -> None:
    add("b/1", {"model.hidden": [3], "seed": 7}, {"train": 1.0, "valid": 0.5, "test": 0.25, "loss": 2.0})
    add("b/2", {})
    add("a", {"optimizer.learning_rate": 0.5}, {"test": 0.75})
    ended = cli("runs")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "run  data            valid       test  differs from its experiment in",
        "a    bundled tiny        -    75.00 %  optimizer.learning_rate=0.5",
        "b/1  bundled tiny  50.00 %    25.00 %  seed=7 model.hidden=[3]",
        "b/2  bundled tiny           no result  nothing",
    ]


def test_of_another_choice_its_name_and_what_was_asked_for(add: Callable[..., Path], cli: Run) -> None:
    values = {"optimizer.name": "momentum", "optimizer.learning_rate": 1e-3}
    add("a", values, overrides=["optimizer=momentum"])
    add("b", values, overrides=["optimizer=momentum", "++optimizer.learning_rate=0.001"])
    first, second = json.loads(cli("runs", "--json").out)["runs"]
    assert first["differences"] == {"optimizer": "momentum"}
    assert second["differences"] == {"optimizer": "momentum", "optimizer.learning_rate": 0.001}


def test_the_runs_of_one_experiment(add: Callable[..., Path], cli: Run) -> None:
    add("a", {})
    add("b", {"name": "other"}, {"test": 0.5}, ["name=other"])
    (found,) = json.loads(cli("runs", "other", "--json").out)["runs"]
    assert (found["run"], found["experiment"], found["overrides"]) == ("b", "other", ["name=other"])
    assert found["figures"] == {"test": 0.5}
    # There is no such experiment: what differs is told from the values of every run.
    assert found["differences"]["model.hidden"] == [8]


def test_a_run_on_data_that_the_experiment_or_conf_has_not(
    checkout: Layout, configs: dict[str, Config], add: Callable[..., Path], cli: Run
) -> None:
    """Such a run is one line, and hides no other."""
    definition = (checkout.conf / "dataset" / "tiny.yaml").read_text(encoding="utf-8")
    own = definition.replace("name: tiny", "name: own").replace("  bundled:", "  local:")
    write_text(checkout.conf / "dataset" / "own.yaml", own)
    renamed = {"bundled": "local"}
    sources = {renamed.get(key, key): source for key, source in configs["tiny"].dataset.sources.items()}
    for name in ("own", "gone"):
        dataset = replace(configs["tiny"].dataset, name=name, sources=sources)
        config = replace(configs["tiny"], dataset=dataset, source="local", seed=7)
        write_text(checkout.root / "runs" / name / "config.yaml", to_yaml(config))
    add("tiny", {})
    gone, here, tiny = json.loads(cli("runs", "--json").out)["runs"]
    assert (gone["differences"], here["differences"], tiny["differences"]) == (None, {"seed": 7}, {})
    assert "local gone" in cli("runs").out.splitlines()[1]
    assert (
        cli("runs").out.splitlines()[1].endswith("not known: conf/ has no such experiment on such data now")
    )


def test_no_runs(checkout: Layout, cli: Run) -> None:
    ended = cli("runs")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"no runs in {checkout.root / 'runs'}: ")


def test_a_run_that_cannot_be_read_is_a_line_and_hides_no_other(add: Callable[..., Path], cli: Run) -> None:
    add("a", {}).joinpath("metrics.json").write_text("{")
    old = add("b", {}) / "config.yaml"
    old.write_text(old.read_text().replace("dtype:", "precision:"))
    add("c", {})
    ended = cli("runs", "tiny")
    assert (ended.code, ended.err) == (0, "")
    _, damaged, old_run, sound = ended.out.splitlines()
    assert damaged.split()[:2] == ["a", "metrics.json:"]
    assert old_run.split()[:2] == ["b", "precision:"]
    assert "dtype" in old_run
    assert sound.split()[0] == "c"


# A sweep


def job(folder: Path, number: int, rate: str, exit_code: int = 0, **figures: float) -> runs.Job:
    if figures:
        write_json(folder / str(number) / "metrics.json", figures)
    overrides = ["experiment=tiny", f"optimizer.learning_rate={rate}"]
    return runs.Job(str(folder / str(number)), number, overrides, exit_code)


def test_the_best_of_a_sweep_comes_first(tmp_path: Path) -> None:
    """By the valid part where there is one; a failure comes last, whatever it had measured."""
    jobs = [
        job(tmp_path, 0, "0.1", valid=0.5, test=0.9),
        job(tmp_path, 1, "0.2", valid=0.75, test=0.1),
        job(tmp_path, 2, "0.3", exit_code=1, test=1.0),
        job(tmp_path, 3, "0.4", test=0.625),
    ]
    assert runs.sweep_table(jobs, {"experiment"}) == [
        "run  optimizer.learning_rate    valid     test",
        "#1   0.2                      75.00 %  10.00 %",
        "#3   0.4                            -  62.50 %",
        "#0   0.1                      50.00 %  90.00 %",
        "#2   0.3                                failed",
    ]


def test_what_jobs_leave_word_of_is_read_in_their_order(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    jobs = [job(tmp_path / "a \udcff 数", number, "0.1", exit_code=number % 2) for number in range(12)]
    for each in reversed(jobs):
        runs.note_end(journal, each)
    assert runs.read_journal(journal) == jobs


def test_a_log_has_the_lines_as_they_look_in_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with runs.logged(tmp_path):
        sys.stderr.write("one\n\r 10 %|#  |\r 20 %|## |")
        sys.stderr.write("\r           \rtwo\n\r100 %|###|\nthree")
        assert not sys.stderr.isatty()
    assert (tmp_path / "run.log").read_text() == "one\ntwo\n100 %|###|\n"
    assert capsys.readouterr().err.endswith("\nthree")
