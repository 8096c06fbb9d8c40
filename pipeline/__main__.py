"""The command line: ``python -m pipeline COMMAND``, also installed as ``pipeline``.

Each command's module is imported when it runs, so that `--help` is quick and so that the runtime tier can
still be chosen before NumPy is loaded.
"""

import argparse
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

from pipeline import __version__
from pipeline.core import runtime, system
from pipeline.core.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from pipeline.core.paths import Layout

# Stages of a data set. Every other one is of an experiment, or a command of its own name has its arguments.
_DATASET_STAGES: Final = {"describe", "fetch", "parse"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for a failure told in a line or two, 2 for bad usage."""
    if arguments is None:
        system.open_closed_streams()
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell that starts a program in the background has it ignore Ctrl-C.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _raise_signal)
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    code = 0
    try:
        code = _exit_code([argument for argument in given if argument != "--debug"], debug=debug)
        # At exit it would be too late for a reader that has gone, or a disk that is full.
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_buffers(sys.stdout, sys.stderr)
        return 1
    except OSError as error:
        _discard_buffers(sys.stdout)
        if code == 0:
            _complain(f"cannot write to stdout: {error.strerror}")
        return code or 1
    return code


def _discard_buffers(*streams: TextIO) -> None:
    """Send what is left in the streams' buffers nowhere: Python would complain again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())


def _exit_code(given: list[str], *, debug: bool) -> int:
    try:
        return _run(given)
    except BaseException as error:  # noqa: BLE001  (what is not told is raised again)
        return _report_code(error, debug=debug)


def _report_code(error: BaseException, *, debug: bool) -> int:
    """Tell what ended a command in a line or two; its exit code.

    Raises:
        BaseException: `error` itself, where it is not one to tell.
    """
    # Hydra and OmegaConf make errors of their own of a signal that comes while they compose.
    if _signals or isinstance(error, KeyboardInterrupt):
        number = _signals[0] if _signals else signal.SIGINT
        _complain("interrupted" if number == signal.SIGINT else "terminated")
        return 128 + number
    if isinstance(error, SystemExit):
        # So argparse and Hydra end, after --help or a complaint.
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, ModuleNotFoundError) and not debug and not _is_own(error.name):
        _complain(
            f"{error.name} is not installed for {sys.executable}.\n"
            "Set up and use the checkout's own environment: make setup && . .venv/bin/activate"
        )
        return 1
    if not isinstance(error, PipelineError | OSError | MemoryError) or isinstance(error, BrokenPipeError):
        raise error
    if debug:
        traceback.print_exception(error)
    _complain(_describe_error(error))
    return 2 if isinstance(error, UsageError) else 1


def _is_own(module: str | None) -> bool:
    return (module or "").split(".")[0] == "pipeline"


# Those that came.
_signals: list[int] = []


class _Terminated(BaseException):
    """SIGTERM came; like KeyboardInterrupt it is no error that anything on the way should handle."""


def _raise_signal(number: int, frame: object) -> NoReturn:
    del frame
    _signals.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else _Terminated


def _describe_error(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def _complain(text: str) -> None:
    from pipeline.core.descriptions import harmless  # not needed for --help

    sys.stderr.write(f"pipeline: {harmless(text)}\n")


def _run(given: list[str]) -> int:
    if runtime.active() is None and "numpy" not in sys.modules:
        # PIPELINE_RUNTIME was wrong when the package was imported: now it can be told.
        runtime.activate()
    if given[:1] == ["train"]:
        from pipeline.commands import train  # the only command whose arguments are not argparse's alone

        engine, given = train.split_engine(given[1:])
        if train.has_overrides(given):
            return _train_by_overrides(given, engine)
        given = ["train", *given, *(["--engine", engine] if engine else [])]
    parser = _parser(next((argument for argument in given if not argument.startswith("-")), None))
    options, left = parser.parse_known_args(given)
    if hasattr(options, "overrides"):
        # argparse does not take KEY=VALUE after an option.
        options.overrides += [argument for argument in left if not argument.startswith("-")]
        left = [argument for argument in left if argument.startswith("-")]
    if left:
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if options.command is None:
        parser.print_help()
        return 2
    from pipeline.core import guard  # not needed for --help

    guard.remember_code()
    from pipeline.core.paths import Layout, find_root

    action: Callable[[Layout, argparse.Namespace], None] = options.action
    action(Layout(find_root() if options.needs_checkout else Path.cwd()), options)
    return 0


def _train_by_overrides(arguments: Sequence[str], engine: str) -> int:
    from pipeline.commands import train
    from pipeline.core import guard
    from pipeline.core.paths import Layout, find_root

    # A sweep goes on for long: its states and its workers' code are those of the code that it began with.
    guard.remember_code()
    return train.run_application(
        Layout(find_root()),
        arguments,
        engine,
        complain=_complain,
        is_interrupted=lambda: bool(_signals),
    )


class _Parser(argparse.ArgumentParser):
    """argparse repeats what it was given, such as a file's name."""

    def error(self, message: str) -> NoReturn:
        """Complain in a line that steers no terminal, and exit."""
        from pipeline.core.descriptions import one_line  # not needed for --help

        super().error(one_line(message))


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pipeline",
        description="MNIST and CIFAR-10 from raw files to a trained and measured NumPy perceptron.",
        epilog="Usually `dvc repro` calls these commands. pipeline COMMAND --help has an example of each.",
    )
    parser.add_argument("--version", action="version", version=f"pipeline {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    stages, own = list_modules("stages"), list_modules("commands")
    for name, text in {**stages, **own}.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"Example: pipeline {name} mnist_two_layer",
        )
        command.set_defaults(needs_checkout=True)
        if name != chosen:
            continue
        if name in own:
            # Only the chosen command's module is imported.
            module = importlib.import_module(f"pipeline.commands.{name.replace('-', '_')}")
            command.epilog = f"Example: pipeline {module.EXAMPLE}"
            module.add_arguments(command)
            command.set_defaults(action=module.run, needs_checkout=getattr(module, "NEEDS_CHECKOUT", True))
        elif name in _DATASET_STAGES:
            example = "leaves --source local" if name == "describe" else "mnist --source official"
            command.epilog = f"Example: pipeline {name} {example}"
            command.add_argument("name", metavar="dataset", help="a name from conf/dataset/")
            command.add_argument("--source", help="bundled, official or local (default: as in params.yaml)")
            command.add_argument(
                "overrides",
                nargs="*",
                metavar="KEY=VALUE",
                help=(
                    "change a key of conf/dataset/DATASET.yaml, such as"
                    " sources.official.files.archive.sha256=…"
                ),
            )
            command.set_defaults(action=_run_dataset_stage)
        else:
            command.add_argument("name", metavar="experiment", help="a name from params.yaml")
            command.set_defaults(action=_run_experiment_stage)
    return parser


def list_modules(folder: str) -> dict[str, str]:
    """The stages or commands in a folder of the package, and what each does; none of them is imported.

    It is a module or package whose docstring begins with its name and a colon.
    """
    listed = {}
    for path in sorted((Path(__file__).parent / folder).iterdir()):
        name = path.stem.replace("_", "-")
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix == ".py" and file.is_file():
            with file.open(encoding="utf-8") as lines:
                title = next((line for line in lines if line.startswith('"""')), "")
            if title.startswith(f'"""{name}: '):
                text = title.removeprefix(f'"""{name}: ').rstrip().removesuffix('"""').rstrip(".")
                # argparse puts values in the place of %(name)s.
                listed[name] = text.replace("%", "%%")
    return listed


def _run_dataset_stage(layout: "Layout", options: argparse.Namespace) -> None:
    from pipeline.stages.shared.runner import Options, run_stage  # not needed for --help

    source = options.source
    if source is None:
        from pipeline.commands.shared.sources import read_source, say_source
        from pipeline.config.compose import read_dataset

        source = read_source(layout)
        # A wrong name is told without this line.
        read_dataset(layout.conf, options.name, options.overrides).source(source)
        say_source(source)
    run_stage(layout, options.command, Options(options.name, source, options.overrides))


def _run_experiment_stage(layout: "Layout", options: argparse.Namespace) -> None:
    from pipeline.stages.shared.runner import Options, run_stage  # not needed for --help

    run_stage(layout, options.command, Options(options.name))


if __name__ == "__main__":
    sys.exit(main())
