"""Mutations of all that stages hand on, as sound files: each is told in one line, and nothing comes of it."""

import csv
import io
import itertools
import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.compose import read_config
from pipeline.config.schema import Config
from pipeline.core.errors import PipelineError
from pipeline.core.files.arrays import read_arrays, write_arrays
from pipeline.core.paths import Layout
from pipeline.search.trials import Outcome
from pipeline.stages import compose, evaluate, plot, results, split, train
from pipeline.stages.shared.context import Context, ExperimentContext
from pipeline.stages.train.resume import TrainingState, TrialLog

Arrays = Mapping[str, Any]


def put(array: Any, value: Any) -> Any:  # noqa: ANN401  (an array; a number)
    if not array.size:
        return np.full(1, value, array.dtype)
    changed = array.copy()
    changed.flat[0] = value
    return changed


def array_mutations(arrays: Arrays) -> Iterator[Arrays]:
    """Every array absent, under another name, of another kind or shape, and with values that cannot be."""
    yield {**arrays, "more": np.zeros(3)}
    for name, array in arrays.items():
        others = {other: each for other, each in arrays.items() if other != name}
        yield others
        yield {**others, f"{name}s": array}
        kind = np.int64 if array.dtype.kind == "f" else np.float64
        least = 0 if array.dtype.kind == "u" else -1
        for changed in (array.astype(kind), array.astype(bool), array[None], put(array, least)):
            yield {**others, name: changed}
        if array.dtype.kind == "f":
            yield from ({**others, name: put(array, value)} for value in (np.nan, np.inf, -np.inf))
        else:
            yield {**others, name: put(array, np.iinfo(array.dtype).max)}
        if array.ndim:
            yield {**others, name: array[..., None]}


def split_mutations(arrays: Arrays) -> Iterator[Arrays]:
    yield from array_mutations(arrays)
    for name in ("train", "valid", "test"):
        array = arrays[name]
        yield from ({**arrays, name: changed} for changed in (array * 0, put(array, array[1]), array + 200))
        if name != "valid":  # there need not be any
            yield {**arrays, name: array[:0]}
    yield {**arrays, "valid": arrays["train"]}
    yield {**arrays, "valid": put(arrays["valid"], arrays["train"][0])}
    yield {**arrays, "divisor": np.array(0.0)}
    for size in (1, 783, 785):
        yield {**arrays, "mean": np.zeros(size)}
        yield {**arrays, "mean": np.zeros(784), "deviation": np.ones(size)}
    yield {**arrays, "mean": np.zeros(784), "deviation": np.zeros(784)}
    yield {**arrays, "mean": np.full(784, np.nan)}
    yield {**arrays, "mean": np.full(784, 1e300)}


def probabilities_mutations(arrays: Arrays) -> Iterator[Arrays]:
    yield from array_mutations(arrays)
    for name, array in arrays.items():
        yield from ({**arrays, name: changed} for changed in (array[1:], array[:0]))
    # (Rows in another order would still be probabilities: that is for DVC's hash to find.)
    yield from ({**arrays, name: arrays[name][::-1]} for name in ("labels", "images"))
    yield {name: array[:0] for name, array in arrays.items()}
    table = arrays["probabilities"]
    yield from (
        {**arrays, "probabilities": changed} for changed in (table / 2, table * 0, table[:, :9], table.T)
    )
    yield {**arrays, "labels": put(arrays["labels"], 10)}
    yield {**arrays, "labels": (arrays["labels"] + 1) % 10}
    yield {**arrays, "images": put(arrays["images"], arrays["images"][1])}


def parsed_mutations(images: Any, labels: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401  (arrays)
    yield from (
        (images, changed) for changed in (put(labels, 99), put(labels, 10), labels[1:], labels[:, None])
    )
    yield from ((images, labels.astype(kind)) for kind in (np.int64, np.int8, float, bool))
    yield from ((images.astype(kind), labels) for kind in (np.int64, np.int8, float, bool))
    yield from ((images.reshape(shape), labels) for shape in ((-1, 784), (-1, 14, 56, 1), (-1, 28, 28)))
    yield from ((images[1:], labels), (images[:, :27], labels), (np.repeat(images, 3, axis=3), labels))


def json_mutations(value: Any) -> Iterator[Any]:  # noqa: ANN401  (JSON)
    """Each value absent, null, and of another kind; numbers beyond what they can be."""
    for key, item in value.items():
        rest = {other: each for other, each in value.items() if other != key}
        if key not in {"train_accuracy", "valid_accuracy"}:  # figures that there need not be
            yield rest
        yield from ({**value, key: other} for other in (None, [], {}, True))
        if isinstance(item, dict):
            yield from ({**value, key: changed} for changed in json_mutations(item))
        elif isinstance(item, float):
            yield from ({**value, key: other} for other in (-0.1, "0.5"))
            if "loss" not in key:
                yield {**value, key: 1.5}


def parameters_mutations(named: dict[str, Any]) -> Iterator[object]:
    for name, array in named.items():
        others = {other: each for other, each in named.items() if other != name}
        yield others
        yield {**others, f"x{name}": array}
        for changed in (
            *(array.astype("f2"), array.astype("i4"), put(array, np.nan), put(array, np.inf), array[1:]),
            *(array[..., :-1], array[None, None], array.tolist(), None),
        ):
            yield {**others, name: changed}
    yield {**named, "W1": named["W1"].T}
    yield {**named, "W3": named["W2"], "b3": named["b2"]}
    yield {name: named[name] for name in ("W1", "b1")}
    yield from ([], {}, list(named.values()), named["W1"])


def table_mutations(
    header: list[str], rows: list[list[str]], numbers: list[str]
) -> Iterator[list[list[str]]]:
    """Rows and columns that are absent, moved or twice, and numbers that cannot be."""
    yield [header]
    yield [header, *reversed(rows)]
    yield [header, *rows, rows[-1]]
    yield [header, *rows[1:]]
    if len(rows) > 2:
        yield [header, rows[0], *rows[2:]]
    for name in numbers:
        column = header.index(name)
        yield [row[:column] + row[column + 1 :] for row in (header, *rows)]
        yield [[f"{name}s" if each == name else each for each in header], *rows]
        for text in ("x", "nan", "inf", "-1", ""):
            yield [header, [*rows[0][:column], text, *rows[0][column + 1 :]], *rows[1:]]


def counted(mutations: Iterator[Any], least: int) -> list[Any]:
    found = list(mutations)
    assert len(found) >= least
    return found


def context_of(layout: Layout, name: str = "tiny") -> ExperimentContext:
    results = layout.results(name)
    return ExperimentContext(layout, read_config(results.config), results)


def refuses(stage: Any, context: Any, path: Path) -> None:  # noqa: ANN401  (a module and what it is run with)
    with pytest.raises(PipelineError) as caught:
        stage.run(context)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_every_mutation_of_a_split_is_told(evaluated: Layout) -> None:
    context, outputs = context_of(evaluated), evaluated.results("tiny")
    arrays = read_arrays(outputs.split)
    before = outputs.metrics.read_bytes()
    for changed in counted(split_mutations(arrays), 45):
        write_arrays(outputs.split, **changed)
        refuses(evaluate, context, outputs.split)
    assert outputs.metrics.read_bytes() == before


def test_every_mutation_of_probabilities_is_told(evaluated: Layout) -> None:
    context, path = context_of(evaluated), evaluated.results("tiny").probabilities
    arrays = read_arrays(path)
    for changed in counted(probabilities_mutations(arrays), 35):
        write_arrays(path, **changed)
        refuses(plot, context, path)


def test_every_mutation_of_parsed_images_is_told(evaluated: Layout) -> None:
    context, parsed = context_of(evaluated), evaluated.parsed("bundled", "tiny")
    for part in ("train", "test"):
        paths = [parsed / part / f"{name}.npy" for name in ("images", "labels")]
        whole = [np.load(path) for path in paths]
        for changed in parsed_mutations(*whole):
            for path, array in zip(paths, changed, strict=True):
                np.save(path, array)
            refuses(evaluate, context, parsed / part)
        for path, array in zip(paths, whole, strict=True):
            np.save(path, array)


def test_every_mutation_of_a_summary_is_told(evaluated: Layout) -> None:
    evaluated.params.write_text("source: bundled\ndatasets: [tiny]\nexperiments:\n  tiny: {dataset: tiny}\n")
    path = evaluated.results("tiny").summary
    context = Context(evaluated, "")
    results.run(context)
    summary = json.loads(path.read_text())
    published = summary.pop("published")  # all of it may be absent
    for changed in counted(json_mutations(summary), 30):
        path.write_text(json.dumps({**changed, "published": published}))
        refuses(results, context, path)


def test_every_mutation_of_parameters_is_told(evaluated: Layout) -> None:
    context, path = context_of(evaluated), evaluated.results("tiny").parameters
    named = pickle.loads(path.read_bytes())  # noqa: S301  (our own)
    for changed in counted(parameters_mutations(named), 50):
        path.write_bytes(pickle.dumps(changed))
        refuses(evaluate, context, path)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("history", ["epoch", "step", "learning_rate"]), ("steps", ["step", "loss"])],
)
def test_every_mutation_of_a_table_is_told(evaluated: Layout, name: str, numbers: list[str]) -> None:
    context, path = context_of(evaluated), getattr(evaluated.results("tiny"), name)
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    for changed in table_mutations(header, rows, numbers):
        write(path, changed)
        refuses(plot, context, path)


@pytest.fixture
def searched(parsed: Layout) -> Layout:
    """The search trained."""
    compose.run(Context(parsed, "tiny_grid"))
    for stage in (split, train):
        stage.run(context_of(parsed, "tiny_grid"))
    return parsed


def test_every_mutation_of_trials_is_told(searched: Layout) -> None:
    context, path = context_of(searched, "tiny_grid"), searched.results("tiny_grid").trials
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    for changed in table_mutations(header, rows, ["trial", "seed", "valid_accuracy"]):
        write(path, changed)
        refuses(evaluate, context, path)
    for one, other in itertools.pairwise(range(len(header))):
        order = list(range(len(header)))
        order[one], order[other] = other, one
        write(path, [[row[index] for index in order] for row in (header, *rows)])
        refuses(evaluate, context, path)


def write(path: Path, rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue())


def test_no_mutation_of_a_resume_state_is_gone_on_from(
    parsed: Layout, configs: dict[str, Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved: list[TrainingState] = []
    context = ExperimentContext(parsed, configs["tiny"], parsed.results("tiny"))
    split.run(context)

    def keep(state: TrainingState) -> None:
        saved.append(state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingState, "remove", keep)
        train.run(context)
    (state,) = saved
    assert state.load() is not None
    elsewhere = TrainingState(tmp_path / "another.npz")
    shutil.copy(state.path, elsewhere.path)
    capsys.readouterr()
    assert elsewhere.load() is None
    arrays = read_arrays(state.path)
    seal = arrays.pop("seal")
    for changed in ({**mutated, "seal": seal} for mutated in array_mutations(arrays)):
        write_arrays(state.path, **changed)
        assert state.load() is None
    said = capsys.readouterr().err.splitlines()
    assert len(said) > 30
    assert all("is damaged (" in line and "discarded" in line for line in said)


def test_no_line_of_another_searchs_log_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = TrialLog(tmp_path / "one.trials")
    log.append(Outcome(0, 0.5))
    log.close()
    shutil.copy(log.path, tmp_path / "other.trials")
    assert TrialLog(tmp_path / "other.trials").read() == []
    assert capsys.readouterr().err.count("lines damaged or cut off: 1; their trials run again") == 1
    assert log.read() == [Outcome(0, 0.5)]
