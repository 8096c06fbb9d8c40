"""The passport: what a worker has to have in common with the search, and how a difference is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core import guard, runtime
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Layout
from pipeline.stages.train import workers
from pipeline.stages.train.workers import Passport, issue, located


@pytest.fixture
def issued(parsed: Layout) -> Passport:
    workers.check.cache_clear()
    return issue(parsed.root, [parsed.parsed("bundled", "tiny")])


def test_this_process_has_what_its_own_passport_says(issued: Passport) -> None:
    workers.check(issued)
    assert dict(issued.bits) == runtime.arithmetic()


def test_a_difference_is_told_in_one_line(issued: Passport) -> None:
    (path, digest), *_ = issued.inputs
    for other, said in (
        (replace(issued, code="0"), "runs other code of the pipeline: start the search again"),
        (replace(issued, numpy="1.0"), "has NumPy .* instead of 1.0"),
        (replace(issued, tier="avx512"), "NumPy is already loaded with runtime=portable"),
        (replace(issued, bits=()), "computes other bits than runtime=portable does in the search"),
        (
            replace(issued, inputs=((path / "no", digest),)),
            "does not see .*/tiny/no: share the checkout's folder",
        ),
        (replace(issued, inputs=((path, "0"),)), "has another .*/tiny than the search: `dvc pull`"),
    ):
        with pytest.raises(PipelineError, match=said) as caught:
            workers.check(other)
        assert str(caught.value).startswith("the worker on ")
        assert "\n" not in str(caught.value)


def test_code_that_was_edited_while_it_was_imported_is_told(
    issued: Passport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "changed_code", lambda: [Path("pipeline/nn/training.py")])
    with pytest.raises(PipelineError, match="runs other code of the pipeline"):
        workers.check(issued)


def test_a_folder_that_is_not_shared_is_looked_for_in_the_own_checkout(
    parsed: Layout, issued: Passport
) -> None:
    elsewhere = Path("/nowhere/checkout")
    path = Layout(elsewhere).parsed("bundled", "tiny")
    assert located(path, elsewhere) == parsed.parsed("bundled", "tiny")
    assert located(path / "no", elsewhere) == path / "no"
    assert located(Path("/nowhere/else"), elsewhere) == Path("/nowhere/else")
    workers.check(replace(issued, root=elsewhere, inputs=((path, issued.inputs[0][1]),)))
