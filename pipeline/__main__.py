"""The command line: ``python -m pipeline COMMAND``, also installed as ``pipeline``.

Each command's module is imported when it runs, so that `--help` is quick and so that the runtime tier can
still be chosen before NumPy is loaded.
"""

import argparse
import contextlib
import importlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

from pipeline import __version__
from pipeline.core import runtime
from pipeline.core.errors import ConfigError, PipelineError, UsageError

if TYPE_CHECKING:
    from pipeline.core.paths import Layout

_EXPERIMENT_STAGES: Final = {
    "split": "choose the train, valid and test parts of an experiment",
    "evaluate": "measure an experiment's trained parameters on every part",
    "plot": "draw an experiment's pictures",
}
# Each is a module of pipeline.commands with EXAMPLE, add_arguments(parser) and run(layout, options).
_COMMANDS: Final = {
    "check-gradients": "compare the analytic gradients with central differences",
    "check-params": "see that every name in params.yaml is a plain one",
    "check-remote": "look for damaged objects on a DVC remote",
    "compare": "compare two parameter pickles on the same images",
    "init": "unpack a project of one's own into a new folder",
    "predict": "classify images with trained parameters",
    "repro": "run the stages as dvc repro does, experiment by experiment or several side by side",
    "results": "write the table of published and own results",
    "search-report": "show the best trials of a search, and what each axis changes",
    "show": "look at images of a data set",
    "source": "select the source in params.yaml",
    "verify": "run the last commit from nothing in a clone and compare every output",
    "worker": "start processes for searches on a Dask cluster",
}
# Those that need no checkout, for they make one.
_ANYWHERE: Final = {"init"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for a failure told in a line or two, 2 for bad usage."""
    if arguments is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell that starts a program in the background has it ignore Ctrl-C.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _signalled)
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    code = 0
    try:
        code = _outcome([argument for argument in given if argument != "--debug"], debug=debug)
        # At exit it would be too late for a reader that has gone, or a disk that is full.
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout, sys.stderr)
        return 1
    except OSError as error:
        _silence(sys.stdout)
        if code == 0:
            _complain(f"cannot write to stdout: {error.strerror}")
        return code or 1
    return code


def _silence(*streams: TextIO) -> None:
    """Send what is left in the streams' buffers nowhere: Python would complain again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())


def _outcome(given: list[str], *, debug: bool) -> int:
    try:
        return _run(given)
    except BaseException as error:  # noqa: BLE001  (what is not told is raised again)
        return _told_code(error, debug=debug)


def _told_code(error: BaseException, *, debug: bool) -> int:
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
    _complain(_told(error))
    return 2 if isinstance(error, UsageError) else 1


def _is_own(module: str | None) -> bool:
    return (module or "").split(".")[0] == "pipeline"


# Those that came.
_signals: list[int] = []


class _Terminated(BaseException):
    """SIGTERM came; like KeyboardInterrupt it is no error that anything on the way should handle."""


def _signalled(number: int, frame: object) -> NoReturn:
    del frame
    _signals.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else _Terminated


def _told(error: Exception) -> str:
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
        given = ["train", *_without_engine(given[1:])]
    if given[:1] == ["train"] and _is_hydra(given[1:]):
        from pipeline.core import guard  # not needed for --help

        # A sweep goes on for long: its states and its workers' code are those of the code that it began with.
        guard.remember_code()
        return _train_application(given[1:])
    parser = _parser(next((argument for argument in given if not argument.startswith("-")), None))
    options = parser.parse_args(given)
    if options.command is None:
        parser.print_help()
        return 2
    from pipeline.core import guard  # not needed for --help

    guard.remember_code()
    from pipeline.core.paths import Layout, find_root

    action: Callable[[Layout, argparse.Namespace], None] = options.action
    action(Layout(Path.cwd() if options.command in _ANYWHERE else find_root()), options)
    return 0


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pipeline",
        description="MNIST and CIFAR-10 from raw files to a trained and measured NumPy perceptron.",
        epilog="Usually `dvc repro` calls these commands. pipeline COMMAND --help has an example of each.",
    )
    parser.add_argument("--version", action="version", version=f"pipeline {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def command(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"Example: pipeline {example}",
        )

    for name, text in (
        ("fetch", "download the files of a data set, or draw its stand-in"),
        ("parse", "turn the files of a data set into arrays"),
    ):
        data = command(name, text, f"{name} mnist --source official")
        data.add_argument("dataset", help="a name from conf/dataset/")
        data.add_argument("--source", default="bundled", help="bundled (the default) or official")
        data.add_argument(
            "overrides",
            nargs="*",
            metavar="KEY=VALUE",
            help="change a key of conf/dataset/DATASET.yaml, such as sources.official.files.archive.sha256=…",
        )
        data.set_defaults(action=_data_stage)
    compose = command(
        "compose", "write the resolved configuration of an experiment", "compose mnist_two_layer"
    )
    compose.add_argument("experiment", help="a name from params.yaml")
    compose.set_defaults(action=_compose)
    for name, text in _EXPERIMENT_STAGES.items():
        stage = command(name, text, f"{name} mnist_two_layer")
        stage.add_argument("experiment", help="a name from params.yaml, already composed")
        stage.set_defaults(action=_experiment_stage)
    train = command("train", "train an experiment, or anything by overrides", "train mnist_two_layer")
    train.description = (
        "With the name of a composed experiment: its train stage, into outputs/. With Hydra overrides: split,"
        " train, evaluate and plot that configuration into runs/ (--hydra-help has Hydra's flags,"
        " --choices what can be overridden)."
    )
    train.epilog = "Example: pipeline train experiment=mnist_two_layer optimizer.learning_rate=0.2"
    train.add_argument("experiment", metavar="EXPERIMENT | KEY=VALUE …", help="see above")
    # Taken off before: Hydra's arguments are not argparse's.
    train.add_argument(
        "--engine", metavar="ENGINE", help="where a search runs: local (the default), dask or ray"
    )
    train.set_defaults(action=_experiment_stage)
    for name, text in _COMMANDS.items():
        if name != chosen:
            commands.add_parser(name, help=text)
            continue
        # Only the chosen command's module is imported.
        module = importlib.import_module(f"pipeline.commands.{name.replace('-', '_')}")
        own = command(name, text, module.EXAMPLE)
        module.add_arguments(own)
        own.set_defaults(action=module.run)
    return parser


def _data_stage(layout: "Layout", options: argparse.Namespace) -> None:
    _runner().run_data_stage(layout, options.command, options.dataset, options.source, options.overrides)


def _experiment_stage(layout: "Layout", options: argparse.Namespace) -> None:
    _runner().run_experiment_stage(layout, options.command, options.experiment)


def _compose(layout: "Layout", options: argparse.Namespace) -> None:
    _runner().run_compose_stage(layout, options.experiment)


def _runner() -> ModuleType:
    return importlib.import_module("pipeline.stages.shared.runner")


def _without_engine(arguments: Sequence[str]) -> list[str]:
    """Put what --engine says into the environment, where the stage looks for it; Hydra knows no such flag."""
    left = []
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        if name != "--engine":
            left.append(argument)
            continue
        value = value if equals else next(waiting, "")
        from pipeline.search.engines import ENGINES, VARIABLE  # not needed for --help

        if not value:
            raise UsageError(f"--engine: name one of {', '.join(ENGINES)}")
        if value not in ENGINES:
            raise UsageError(f"--engine {value}: no such engine; one of {', '.join(ENGINES)}")
        os.environ[VARIABLE] = value
    return left


def _is_hydra(arguments: Sequence[str]) -> bool:
    return not {"-h", "--help"} & set(arguments) and any(
        "=" in argument or argument.startswith(("-", "~")) for argument in arguments
    )


def _train_application(arguments: list[str]) -> int:
    """Let Hydra compose (and sweep over) a configuration, its complaints in our own words."""
    import hydra  # slow to import
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig, OmegaConf

    from pipeline.config.compose import compose, hydra_overrides
    from pipeline.config.messages import explain
    from pipeline.config.schema import Config
    from pipeline.core.paths import Layout, find_root  # not needed for --help

    layout = Layout(find_root())
    failures: list[Exception] = []

    @hydra.main(version_base="1.3", config_path=str(layout.conf), config_name="config")
    def application(composed: DictConfig) -> None:
        # As it stands: a folder's name may look like a reference.
        hydra_values: Any = OmegaConf.to_container(HydraConfig.instance().cfg, resolve=False)
        folder = Path(hydra_values["hydra"]["runtime"]["output_dir"])
        try:
            importlib.import_module("pipeline.commands.train").run(layout, composed, folder)
        except PipelineError as error:
            if _signals:
                raise
            # The other jobs of a sweep go on.
            _complain(str(error))
            failures.append(error)
        except Exception as error:
            failures.append(error)
            raise

    if not any(argument.startswith("-") for argument in arguments):
        names = [argument for argument in arguments if re.fullmatch(r"[\w-]+", argument)]
        if names:
            raise UsageError(f"{names[0]}: beside overrides an experiment is given as experiment={names[0]}")
        # Before Hydra makes a folder for the run.
        compose(layout.conf, arguments, from_environment=True)
    with _as_hydra_program(layout.root, hydra_overrides(arguments)):
        try:
            application()
        except Exception as error:
            # Or runs/ cannot be written.
            if error in failures or getattr(error, "errno", None) is not None:
                raise
            raise ConfigError(explain(error, Config)) from error
    if failures:
        return 2 if all(isinstance(failure, UsageError) for failure in failures) else 1
    return 0


@contextlib.contextmanager
def _as_hydra_program(root: Path, arguments: Sequence[str]) -> Iterator[None]:
    """What Hydra takes from the process: its arguments, where runs/ is, that errors are left to `main`."""
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["pipeline train", *("--help" if given == "--choices" else given for given in arguments)]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with contextlib.chdir(root):
            yield
    finally:
        sys.argv = before[0]
        if before[1] is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before[1]


if __name__ == "__main__":
    sys.exit(main())
