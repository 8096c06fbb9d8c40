"""Paths: each has one name, all lie inside the checkout, and the checkout is found from anywhere inside."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.paths import Layout, Results, find_root, shown_path

ROOT = Path("/somewhere")


def properties(kind: type) -> list[str]:
    return [name for name, value in vars(kind).items() if isinstance(value, property)]


def test_the_files_of_an_experiment() -> None:
    results = Layout(ROOT).results("x")
    found = {name: getattr(results, name) for name in properties(Results)}
    assert len(set(found.values())) == len(found)
    # DVC has the summaries of all experiments in a folder of their own, and what the page shows of them.
    assert found.pop("summary") == ROOT / "outputs" / "results.d" / "x.json"
    assert found.pop("page") == ROOT / "outputs" / "report.d" / "x.json"
    assert {path.parent for path in found.values()} == {ROOT / "outputs" / "x"}
    # A file has the name by which the code calls it.
    assert {path.name.partition(".")[0] for path in found.values()} == set(found)


def test_the_paths_of_a_checkout() -> None:
    layout = Layout(ROOT)
    found = [getattr(layout, name) for name in properties(Layout)]
    found += [
        kind(source, dataset)
        for kind in (layout.raw, layout.parsed, layout.parts)
        for source in ("bundled", "official")
        for dataset in ("mnist", "cifar10")
    ]
    assert len(set(found)) == len(found)
    assert all(ROOT in path.parents for path in found)
    assert layout.raw("official", "mnist") == ROOT / "data" / "raw" / "official" / "mnist"
    assert layout.parsed("bundled", "mnist") == ROOT / "data" / "parsed" / "bundled" / "mnist"
    # Beside the outputs of DVC, which empties those before a stage runs.
    assert ROOT / "runs" in layout.parts("official", "mnist").parents


def test_the_checkout_is_found_from_anywhere_inside(
    checkout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = checkout.root.resolve()
    inside = root / "outputs" / "x"
    inside.mkdir(parents=True)
    assert find_root() == find_root(root) == find_root(inside) == find_root(inside / "not" / "there") == root
    monkeypatch.chdir(inside)
    assert find_root() == find_root(Path("..")) == root


@pytest.mark.parametrize(
    "make", [lambda _: None, lambda path: (path / "conf").mkdir(), lambda path: (path / "dvc.yaml").touch()]
)
def test_outside_a_checkout(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    with pytest.raises(PipelineError) as caught:
        find_root(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path.resolve()} is not inside a checkout of the pipeline:"
        " no dvc.yaml and conf/ from here upwards; `pipeline init FOLDER` makes one"
    )


def test_paths_are_shown_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "a" / "b.pkl") == "a/b.pkl"
    assert shown_path(Path("a/b.pkl")) == "a/b.pkl"
    assert shown_path(tmp_path.parent / "b.pkl") == str(tmp_path.parent / "b.pkl")
