"""Resume state: what an interrupted stage had done, in runs/, apart from DVC's outputs.

A state is named by a hash of everything that its work depends on: the resolved configuration, the contents
of the inputs, the package's source and the numeric environment, down to the bits of a few results. Where any
of them has changed, the name is another one, and the work starts anew. What is inside is sealed with the
name: a state that is damaged, or that belongs under another name, is discarded with a line that says so.
"""

import contextlib
import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.config.schema import Config
from pipeline.core import guard, runtime
from pipeline.core.errors import FormatError, PipelineError
from pipeline.core.files.arrays import read_arrays, write_arrays
from pipeline.core.files.atomic import Array, explained, read_bytes, remove
from pipeline.core.progress import say
from pipeline.nn.training import Best, Checkpoint
from pipeline.search.trials import Outcome

if TYPE_CHECKING:
    from io import FileIO

_SLOT: Final = "optimizer_"
_SHARE: Final = 20  # a state is saved when saving took less than this part of the time since the last one
_FORGOTTEN_AFTER_SECONDS: Final = 30 * 24 * 3600
_MAXIMUM_LOG_BYTES: Final = 2**28
_SECONDS_BETWEEN_SYNCS: Final = 1.0


def state_key(config: Config, inputs: Sequence[Path]) -> str:
    """A hash of what training or searching `config` on `inputs` depends on, in hexadecimal.

    Args:
        config: resolved.
        inputs: files, and folders with all that is in them; they have to exist.
    """
    parts = {
        "config": asdict(config),
        "inputs": [guard.content_digest(path) for path in inputs],
        "code": guard.code_digest(),
        "runtime": runtime.active(),
        "numpy": np.__version__,
        # What the process computes, whatever the tier says: it cannot hold its promise everywhere.
        "bits": runtime.arithmetic(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def discard_old(folder: Path, now: Callable[[], float] = time.time) -> None:
    """Remove states below `folder` that nobody has gone on from for a month."""
    for path in folder.glob("*/*"):
        with contextlib.suppress(OSError):
            # A link may lead anywhere, and what it leads to is not ours.
            if folder.is_symlink() or path.parent.is_symlink():
                continue
            if now() - path.lstat().st_mtime > _FORGOTTEN_AFTER_SECONDS:
                path.unlink()


class TrainingState:
    """The latest checkpoint of one training run.

    Args:
        path: the file; its name should hold the key.
        clock: seconds from any fixed moment.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._saved_at = -float("inf")
        self._cost_seconds = 0.0

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, unless epochs are so short that saving each would take more than a twentieth.

        Raises:
            PipelineError: it cannot be written.
        """
        start = self._clock()
        if start - self._saved_at < _SHARE * self._cost_seconds:
            return
        arrays = _pack(checkpoint)
        write_arrays(self.path, **arrays, seal=_seal(self.path, arrays))
        self._saved_at = self._clock()
        self._cost_seconds = self._saved_at - start

    def load(self) -> Checkpoint | None:
        """The checkpoint to go on from; None where there is none, or a damaged one (which is discarded)."""
        if not self.path.exists():
            return None
        try:
            return _unpack(_read_sealed(self.path))
        except (FormatError, KeyError, ValueError, TypeError, AttributeError) as error:
            say(f"{self.path} is damaged ({error}); it is discarded, and training starts anew")
            self.remove()
            return None

    def remove(self) -> None:
        """Forget the run."""
        _remove(self.path)


def _seal(path: Path, arrays: Mapping[str, Array]) -> Array:
    """SHA-256, as uint8 (32,), of a state's name (which holds its key) and all that is in it."""
    found = hashlib.sha256(path.name.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode())
        found.update(np.ascontiguousarray(array).data)
    return np.frombuffer(found.digest(), np.uint8)


def _read_sealed(path: Path) -> dict[str, Array]:
    arrays = read_arrays(path)
    seal = arrays.pop("seal", None)
    if seal is None or not np.array_equal(seal, _seal(path, arrays)):
        raise FormatError("it holds something else than was saved under this name")
    return arrays


def _pack(checkpoint: Checkpoint) -> dict[str, Array]:
    best = checkpoint.best
    facts = {
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "finished": checkpoint.finished,
        "random_state": checkpoint.random_state,
        "history": [dict(row) for row in checkpoint.history],
        "best": None if best is None else {"epoch": best.epoch, "value": best.value},
    }
    text = json.dumps(facts, default=_plain_value).encode()
    arrays: dict[str, Array] = {
        "facts": np.frombuffer(text, np.uint8),
        "parameters": checkpoint.parameters,
        "running": checkpoint.running,
        "step_losses": checkpoint.step_losses,
    }
    arrays |= {f"{_SLOT}{name}": array for name, array in checkpoint.optimizer_state.items()}
    if checkpoint.folded is not checkpoint.parameters:
        arrays["folded"] = checkpoint.folded
    if best is not None:
        arrays["best_parameters"] = best.parameters
    return arrays


def _plain_value(value: Any) -> Any:  # noqa: ANN401  (whatever JSON does not know)
    # The states of random sources hold NumPy arrays and numbers.
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be saved")


def _unpack(arrays: Mapping[str, Array]) -> Checkpoint:
    facts = json.loads(arrays["facts"].tobytes())
    best = facts["best"]
    return Checkpoint(
        epoch=facts["epoch"],
        step=facts["step"],
        parameters=arrays["parameters"],
        running=arrays["running"],
        folded=arrays.get("folded", arrays["parameters"]),
        optimizer_state={
            name.removeprefix(_SLOT): array for name, array in arrays.items() if name.startswith(_SLOT)
        },
        random_state=facts["random_state"],
        history=tuple(facts["history"]),
        step_losses=arrays["step_losses"],
        best=None if best is None else Best(best["epoch"], best["value"], arrays["best_parameters"]),
        finished=facts["finished"],
    )


class TrialLog:
    """The finished trials of one search, appended one by one: a line of JSON each, with its checksum.

    A line that a kill cut off, a damaged one, and one of another search is left out when the log is read: its
    trial runs again.

    Args:
        path: the file; its name should hold the key.
        clock: seconds from any fixed moment.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._file: FileIO | None = None
        self._synced_at = -float("inf")

    def read(self) -> list[Outcome]:
        """The outcomes so far as they came in: the first of each trial and number of epochs."""
        if not self.path.exists():
            return []
        found: dict[tuple[int, int | None], Outcome] = {}
        damaged = 0
        try:
            lines = read_bytes(self.path, maximum_bytes=_MAXIMUM_LOG_BYTES).split(b"\n")
        except PipelineError as error:
            say(f"{error}; the state is discarded, and the search starts anew")
            self.remove()
            return []
        for line in filter(None, lines):
            outcome = self._parse_outcome(line)
            if outcome is None:
                damaged += 1
            else:
                found.setdefault((outcome.number, outcome.epochs), outcome)
        if damaged:
            say(f"{self.path}: lines damaged or cut off: {damaged}; their trials run again")
        return list(found.values())

    def append(self, outcome: Outcome) -> None:
        """Add a finished trial; it survives the end of this process at once, and of the machine in a second.

        Raises:
            PipelineError: the disk is full and the like.
        """
        text = json.dumps(asdict(outcome)).encode()
        # The line end before it ends a line that a kill cut off.
        line = b"\n%08x %s\n" % (self._checksum(text), text)
        with explained("write", self.path):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("ab", buffering=0)
            self._file.write(line)
            now = self._clock()
            if now - self._synced_at >= _SECONDS_BETWEEN_SYNCS:
                os.fsync(self._file.fileno())
                self._synced_at = now

    def _checksum(self, text: bytes) -> int:
        # With the log's name, which holds the search's key.
        return zlib.crc32(text, zlib.crc32(self.path.name.encode()))

    def _parse_outcome(self, line: bytes) -> Outcome | None:
        """The outcome in a line; None for one that is damaged or of another log."""
        checksum, _, text = line.partition(b" ")
        return None if checksum != b"%08x" % self._checksum(text) else Outcome(**json.loads(text))

    def close(self) -> None:
        """Let go of the file once it is on the disk."""
        if self._file is not None:
            with explained("write", self.path), self._file as file:
                os.fsync(file.fileno())
            self._file = None

    def remove(self) -> None:
        """Forget the search."""
        self.close()
        _remove(self.path)


def _remove(path: Path) -> None:
    remove(path)
    # Once no other state is beside it.
    with contextlib.suppress(OSError):
        path.parent.rmdir()
