"""The pipeline once more, from nothing: HEAD cloned into a temporary folder, and `dvc repro` there.

Nothing of this machine's but its interpreter, its libraries and its processor takes part: no cache, no run
cache, no remote, no configuration of DVC's but the committed one, and no code but the clone's own.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.config.compose import read_params
from pipeline.core import runtime, system
from pipeline.core.errors import PipelineError
from pipeline.repro.jobs import dvc

# Variables of these programs could bring results, code or settings with them.
_FOREIGN: Final = ("DVC_", "GIT_", "HYDRA_", "PIPELINE_")
# Where the official data come from, and how many processes search: no bearing on any bit.
_KEPT: Final = frozenset({"PIPELINE_MIRROR", "PIPELINE_WORKERS"})
_PYTHON: Final = frozenset({"PYTHONHOME", "PYTHONSAFEPATH", "PYTHONSTARTUP", "PYTHONINSPECT"})
# Bytes as they are committed, and nobody's hooks.
_GIT_SETTINGS: Final = ("core.autocrlf=false", "core.eol=lf", "core.hooksPath=/dev/null")
_LOG_LINES_SHOWN: Final = 20
_SECONDS_TO_END: Final = 10.0

_LOOK: Final = """
import json, pipeline
from pipeline.core import runtime
print(json.dumps({"package": pipeline.__file__, "doubts": runtime.doubts()}))
"""


@dataclass(frozen=True)
class Clone:
    """A fresh clone, and how to run programs in it.

    Attributes:
        root: its folder with dvc.yaml.
        folder: all that was made for it is in here.
        commit: the commit that is checked out.
        environment: variables for programs that run there.
    """

    root: Path
    folder: Path
    commit: str
    environment: Mapping[str, str]

    def doubts(self, tier: str) -> list[str]:
        """What a stage of the clone would say of a runtime tier on this machine.

        Raises:
            PipelineError: another package than the clone's own would run.
        """
        environment = {**self.environment, runtime.VARIABLE: tier}
        seen = json.loads(run_program([sys.executable, "-c", _LOOK], self.root, environment))
        # records/ has the package of the checkout around it.
        if not Path(seen["package"]).resolve().is_relative_to(self.folder.resolve()):
            raise PipelineError(
                f"the stages would run {Path(seen['package']).parent} instead of the clone's own package in"
                f" {self.root}; nothing was verified"
            )
        return list(seen["doubts"])

    def stages(self) -> list[str]:
        """The stages that its dvc.yaml defines, such as ``train@mnist_two_layer``."""
        return run_program(dvc("stage", "list", "--name-only"), self.root, self.environment).decode().split()


def git(root: Path, *arguments: str) -> bytes:
    """What git prints in `root`, the environment's own repository aside.

    Raises:
        PipelineError: it fails, or there is no git; with its last line.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return run_program(["git", *arguments], root, environment)


@contextlib.contextmanager
def fresh_clone(root: Path, *, keep: bool = False) -> Iterator[Clone]:
    """Clone HEAD of the checkout `root` into a temporary folder.

    Args:
        root: a checkout.
        keep: leave the folder there in the end.

    Raises:
        PipelineError: `root` has no git repository or no commit, or git fails.
    """
    try:
        top = Path(os.fsdecode(git(root, "rev-parse", "--show-toplevel").removesuffix(b"\n")))
        commit = git(root, "rev-parse", "--verify", "HEAD").decode().strip()
    except PipelineError as error:
        raise PipelineError(f"verify clones the last commit of {root}, and there is none: {error}") from None
    inside = root.resolve().relative_to(top.resolve())
    base = Path(tempfile.mkdtemp(prefix="pipeline-verify-"))
    try:
        clone = base / "clone"
        settings = [part for setting in _GIT_SETTINGS for part in ("-c", setting)]
        # No links into the repository that is cloned, shallow or not.
        git(
            base,
            *(*settings, "clone", "--quiet", "--no-hardlinks", "--no-checkout", "--template="),
            *(str(top), str(clone)),
        )
        git(clone, *settings, "checkout", "--quiet", "--detach", commit)
        _isolate(clone / inside)
        yield Clone(clone / inside, base, commit, _environment(base, clone / inside))
    finally:
        if not keep:
            shutil.rmtree(base, ignore_errors=True)


def _isolate(root: Path) -> None:
    """Give a clone a cache of its own, whatever the committed configuration says."""
    folder = root / ".dvc"
    folder.mkdir(exist_ok=True)
    (folder / "config.local").write_text(
        # Relative to .dvc/: DVC would read parts of a path as syntax.
        "[cache]\n    dir = cache\n    type = copy\n[core]\n    analytics = false\n",
        "utf-8",
    )


def _environment(base: Path, root: Path) -> dict[str, str]:
    programs, python = base / "bin", base / "bin" / "python"
    programs.mkdir()
    # dvc.yaml says `python`; a link to the interpreter would not find the packages of its environment.
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', "utf-8")
    python.chmod(0o755)
    variables = {
        name: value
        for name, value in runtime.environment_before().items()
        if name in _KEPT or not (name.startswith(_FOREIGN) or name in _PYTHON)
    }
    paths = [str(root), *filter(None, [variables.get("PYTHONPATH")])]
    return {
        **variables,
        "PATH": f"{programs}{os.pathsep}{variables.get('PATH', os.defpath)}",
        # Before the package that an editable installation names.
        "PYTHONPATH": os.pathsep.join(paths),
        "DVC_GLOBAL_CONFIG_DIR": str(base / "none"),
        "DVC_SYSTEM_CONFIG_DIR": str(base / "none"),
        "DVC_SITE_CACHE_DIR": str(base / "site"),
        "DVC_NO_ANALYTICS": "1",
    }


def reproduce(
    clone: Clone, made: Collection[str], targets: Sequence[str], started: Callable[[str], None]
) -> list[str]:
    """Run `dvc repro` in a clone, without its dvc.lock and what that says that the stages have made.

    Args:
        clone: from `fresh_clone`.
        made: the outputs in the committed dvc.lock.
        targets: stages to make, with what they need; none for all.
        started: called with the name of each stage when it begins.

    Returns:
        The stages that ran, in their order.

    Raises:
        PipelineError: params.yaml has a name that is no plain one, a stage fails, or DVC took a result from
            somewhere. What the run said is in
            ``repro.log`` in the clone's folder.
    """
    read_params(clone.root / "params.yaml")
    for path in ("dvc.lock", *made):
        (clone.root / path).unlink(missing_ok=True)
    log = clone.folder / "repro.log"
    command = dvc("repro", "--no-run-cache", "--no-commit", *targets)
    ran: list[str] = []
    skipped: list[str] = []
    last: deque[str] = deque(maxlen=_LOG_LINES_SHOWN)
    with (
        log.open("w", encoding="utf-8") as copy,
        _ended_at_exit(command, clone) as process,
    ):
        for line in process.stdout or ():
            copy.write(line)
            if line.strip():
                last.append(line.rstrip())
            if match := re.match(r"Running stage '(.+)':", line):
                ran.append(match[1])
                started(match[1])
            elif match := re.match(r"Stage '(.+)' (?:is cached|didn't change)", line):
                skipped.append(match[1])
    if process.returncode:
        where = f"{ran[-1]} failed" if ran else "dvc repro failed"
        raise PipelineError(f"{where} in the clone:\n" + "\n".join(f"  {line}" for line in last))
    if skipped:
        raise PipelineError(f"{skipped[0]} was not run anew in the clone; nothing was verified")
    return ran


@contextlib.contextmanager
def _ended_at_exit(command: Sequence[str], clone: Clone) -> Iterator[subprocess.Popen[str]]:
    """A process in a clone that is over, with all that it started, when the block is."""
    process: subprocess.Popen[str] | None = None
    try:
        with system.postponed_signals():
            # In a group of its own, so that all of it can be ended.
            process = subprocess.Popen(  # noqa: S603  (dvc, on a clone of this very repository)
                command,
                cwd=clone.root,
                env=dict(clone.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                **system.own_group(),
            )
        yield process
        process.wait()
    finally:
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started: as Ctrl-C does, else by force."""
    if process.poll() is None:
        system.interrupt_group(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_END)
    system.kill_group(process)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def run_program(command: Sequence[str], root: Path, environment: Mapping[str, str] | None = None) -> bytes:
    """What a program run in `root` writes to stdout; by default in the environment of this process.

    Raises:
        PipelineError: it is not there, or fails; with its last line.
    """
    try:
        done = subprocess.run(  # noqa: S603  (git, dvc or Python, with arguments of our own)
            command, cwd=root, env=environment, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise PipelineError(f"{command[0]} is not installed") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines() or [
            "no reason given"
        ]
        raise PipelineError(f"{shlex.join(command[:3])} … failed: {said[-1]}")
    return done.stdout
