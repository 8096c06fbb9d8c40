"""Workers: what one has to have in common with the search, and how a difference is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core import guard, runtime
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Layout
from pipeline.stages.train import workers
from pipeline.stages.train.workers import Requirements, located, requirements_of


@pytest.fixture
def required(parsed: Layout) -> Requirements:
    workers.check.cache_clear()
    return requirements_of(parsed.root, [parsed.parsed("bundled", "tiny")])


def test_this_process_has_what_it_requires(required: Requirements) -> None:
    workers.check(required)
    assert dict(required.bits) == runtime.arithmetic()


def test_a_difference_is_told_in_one_line(required: Requirements) -> None:
    (path, digest), *_ = required.inputs
    for other, said in (
        (replace(required, code="0"), "runs other code of the pipeline: start the search again"),
        (replace(required, numpy="1.0"), "has NumPy .* instead of 1.0"),
        (replace(required, tier="avx512"), "NumPy is already loaded with runtime=portable"),
        (replace(required, bits=()), "computes other bits than runtime=portable does in the search"),
        (
            replace(required, inputs=((path / "no", digest),)),
            "does not see .*/tiny/no: share the checkout's folder",
        ),
        (replace(required, inputs=((path, "0"),)), "has another .*/tiny than the search: `dvc pull`"),
    ):
        with pytest.raises(PipelineError, match=said) as caught:
            workers.check(other)
        assert str(caught.value).startswith("the worker on ")
        assert "\n" not in str(caught.value)


def test_code_that_was_edited_while_it_was_imported_is_told(
    required: Requirements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "changed_code", lambda: [Path("pipeline/nn/training.py")])
    with pytest.raises(PipelineError, match="runs other code of the pipeline"):
        workers.check(required)


def test_a_folder_that_is_not_shared_is_looked_for_in_the_own_checkout(
    parsed: Layout, required: Requirements
) -> None:
    elsewhere = Path("/nowhere/checkout")
    path = Layout(elsewhere).parsed("bundled", "tiny")
    assert located(path, elsewhere) == parsed.parsed("bundled", "tiny")
    assert located(path / "no", elsewhere) == path / "no"
    assert located(Path("/nowhere/else"), elsewhere) == Path("/nowhere/else")
    workers.check(replace(required, root=elsewhere, inputs=((path, required.inputs[0][1]),)))
