"""Runs apart from DVC: what is kept of one beside the outputs of its stages, and what is read of it again."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from pipeline.core.paths import Results

# Nothing here loads NumPy before it is needed: a run's configuration says under which runtime.

LOG: Final = "run.log"
OVERRIDES: Final = "overrides.yaml"


@dataclass(frozen=True)
class Job:
    """A run that has ended, alone or as one of a sweep's.

    Attributes:
        folder: of its outputs.
        number: its place in the sweep, from 0; None for a run by itself.
        overrides: KEY=VALUE each, in Hydra's words.
        exit_code: 0, or that of its failure.
    """

    folder: str
    number: int | None
    overrides: list[str]
    exit_code: int

    def __str__(self) -> str:
        """The name by which it is told of."""
        return self.folder if self.number is None else f"#{self.number}"


def note_end(journal: Path, job: Job) -> None:
    """Leave word of a job that has ended in a folder, for `read_journal`; its process may be another one."""
    (journal / f"{job.number}.json").write_text(json.dumps(asdict(job)), encoding="utf-8")


def read_journal(journal: Path) -> list[Job]:
    """The jobs that have ended, in their order."""
    jobs = [Job(**json.loads(path.read_text(encoding="utf-8"))) for path in journal.iterdir()]
    return sorted(jobs, key=lambda job: job.number or 0)


class _Copied:
    """A text stream whose whole lines go to a second one too, as they look in the end."""

    def __init__(self, stream: TextIO, copy: TextIO) -> None:
        self._stream, self._copy, self._begun = stream, copy, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            # A bar is drawn over itself, and blanked for a line above it.
            self._copy.write(line.rpartition("\r")[2].rstrip() + "\n")
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever a stream has)
        return getattr(self._stream, name)


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Keep what the block writes to stderr in the folder's run.log too.

    Raises:
        OSError: the log cannot be written.
    """
    before = sys.stderr
    with (folder / LOG).open("a", encoding="utf-8", errors="replace", buffering=1) as log:
        sys.stderr = _Copied(before, log)
        try:
            yield
        finally:
            sys.stderr = before


def read_figures(folder: Path) -> dict[str, float]:
    """What metrics.json says of a run: accuracies by the part's name, and the loss; nothing if there is none.

    Raises:
        PipelineError: it is damaged.
    """
    from pipeline.core.files.tables import read_json  # it loads NumPy

    metrics = Results(folder).metrics
    found = read_json(metrics) if metrics.is_file() else {}
    return {name: value for name, value in found.items() if isinstance(value, float)}


def read_overrides(folder: Path) -> list[str]:
    """What a run was given, as its overrides.yaml says; nothing if there is none."""
    from omegaconf import OmegaConf  # slow to import

    path = folder / OVERRIDES
    return [str(each) for each in OmegaConf.load(path)] if path.is_file() else []


def accuracy_cells(figures: Mapping[str, float], *, failed: bool = False) -> list[str]:
    """Accuracy on the valid and the test part, as cells of a table."""
    from pipeline.commands.shared.terminal import percent  # not needed for --help

    if not figures:
        return ["", "failed" if failed else "no result"]
    return [percent(figures[part]) if part in figures else "-" for part in ("valid", "test")]


def sweep_table(jobs: Sequence[Job], constant: set[str]) -> list[str]:
    """A sweep's runs with what sets them apart, the most accurate (valid, else test part) first.

    Args:
        jobs: those that have ended.
        constant: the keys that have one value in all of them.

    Raises:
        PipelineError: a run's metrics.json is damaged.
    """
    from pipeline.commands.shared.terminal import table  # not needed for --help

    figures = {job.folder: read_figures(Path(job.folder)) for job in jobs}
    varied = {job.folder: dict(split(varied_overrides(job.overrides, constant))) for job in jobs}
    keys = list(dict.fromkeys(key for values in varied.values() for key in values))

    def score(job: Job) -> float:
        found = figures[job.folder]
        return -1.0 if job.exit_code else found.get("valid", found.get("test", -1.0))

    rows = [["run", *keys, "valid", "test"]]
    for job in sorted(jobs, key=score, reverse=True):
        cells = accuracy_cells({} if job.exit_code else figures[job.folder], failed=bool(job.exit_code))
        rows.append([str(job), *(varied[job.folder].get(key, "") for key in keys), *cells])
    return table(rows, left=range(len(keys) + 1))


def varied_overrides(overrides: Sequence[str], constant: set[str]) -> list[str]:
    """The overrides of a job that not every other job of its sweep has."""
    return [f"{key}={value}" for key, value in split(overrides) if key not in constant]


def split(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Key and value of each override."""
    for override in overrides:
        key, _, value = override.partition("=")
        yield key, value
