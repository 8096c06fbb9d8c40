"""train: train an experiment into outputs/, or any configuration into runs/ by Hydra overrides.

With the name of an experiment it is the stage that DVC runs. With overrides it is a Hydra application, which
may also sweep: split, train, evaluate and plot into runs/, apart from DVC, by the stages' own functions.
"""

import argparse
import contextlib
import errno
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.core.errors import ConfigError, PipelineError, UsageError
from pipeline.core.paths import Layout, Results
from pipeline.core.progress import say

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pipeline.commands.shared.runs import Job

EXAMPLE = "train experiment=mnist_two_layer optimizer.learning_rate=0.2"

# Flags of Hydra with which a configuration of conf/ is run, or shown; the others show something else.
_RUNNING: Final = {"-m", "--multirun"}
_SHOWING: Final = {"-c", "--cfg", "-p", "--package", "--resolve"}

# What is noted at an error that a run has not foreseen.
_IN_RUN: Final = "in the run "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, those of the stage; Hydra parses its own."""
    parser.description = (
        "With the name of a composed experiment: its train stage, into outputs/. With Hydra overrides: split,"
        " train, evaluate and plot that configuration into runs/ (--hydra-help has Hydra's flags,"
        " --choices the choices, --cfg job every value)."
    )
    parser.add_argument("experiment", metavar="EXPERIMENT | KEY=VALUE …", help="see above")
    parser.add_argument(
        "--engine",
        default="",
        metavar="ENGINE",
        help="where a search runs: local (the default), dask or ray",
    )


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Run the train stage of an experiment.

    Raises:
        PipelineError: the stage failed.
    """
    from pipeline.stages.shared.runner import Options, run_stage  # not needed for --help

    run_stage(layout, "train", Options(options.experiment, engine=options.engine))


def split_engine(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """What --engine says, empty if nothing, and the other arguments; Hydra knows no such flag.

    Raises:
        UsageError: there is no such engine, or none is named.
    """
    from pipeline.search import engines  # not needed for --help

    engine, others = "", []
    waiting = iter(arguments)
    for argument in waiting:
        flag, equals, value = argument.partition("=")
        if flag != "--engine":
            others.append(argument)
            continue
        engine = value if equals else next(waiting, "")
        if not engine:
            raise UsageError(f"--engine: name one of {', '.join(engines.ENGINES)}")
        engines.select(engine)
    return engine, others


def has_overrides(arguments: Sequence[str]) -> bool:
    """Whether the arguments, without --engine, are for Hydra."""
    return not {"-h", "--help"} & set(arguments) and any(
        "=" in argument or argument.startswith(("-", "~")) for argument in arguments
    )


def run_application(
    layout: Layout,
    arguments: Sequence[str],
    engine: str,
    *,
    complain: Callable[[str], None],
    is_interrupted: Callable[[], bool],
) -> int:
    """Let Hydra compose (and sweep over) a configuration, its complaints in our own words.

    Args:
        layout: of the checkout.
        arguments: for Hydra.
        engine: where a search runs; empty for what the environment says.
        complain: is told of a job that failed, while those after it go on.
        is_interrupted: whether a signal has come; Hydra and OmegaConf make errors of their own of it.

    Returns:
        The exit code.

    Raises:
        PipelineError: an override is wrong, or the only job failed.
    """
    import hydra  # slow to import
    from omegaconf import DictConfig

    from pipeline.commands.shared import runs
    from pipeline.commands.shared.sources import read_source
    from pipeline.commands.shared.terminal import write
    from pipeline.config.compose import hydra_overrides

    @hydra.main(version_base="1.3", config_path=str(layout.conf), config_name="config")
    def application(composed: DictConfig) -> None:
        job = _this_job()
        with runs.logged(Path(job.folder)):
            if job.number is not None:
                say(f"{job} {' '.join(runs.varied_overrides(job.overrides, constant))}")
            code = 1
            try:
                run_composed(layout, composed, Path(job.folder), engine, source, job.overrides)
                code = 0
            except PipelineError as error:
                if is_interrupted():
                    raise
                # The other jobs of a sweep go on.
                complain(str(error) if job.number is None else f"{job}: {error}")
                code = 2 if isinstance(error, UsageError) else 1
            except Exception as error:
                error.add_note(f"{_IN_RUN}{job}")
                raise
            finally:
                runs.note_end(Path(journal), replace(job, exit_code=code))

    source = read_source(layout) if _needs_source(arguments) else ""
    given = [*arguments, f"source={source}"] if source else list(arguments)
    _check_overrides(layout, given)
    given = hydra_overrides(given)
    with tempfile.TemporaryDirectory() as journal, _as_hydra_program(layout.root, given):
        try:
            constant = _constant_keys(given)
            application()
        except Exception as error:
            if any(note.startswith(_IN_RUN) for note in getattr(error, "__notes__", ())):
                raise
            raise _explain_error(layout, error) from error
        finally:
            # Whatever happened in one job, the others' results are told.
            jobs = runs.read_journal(Path(journal))
            if any(job.number is not None for job in jobs):
                for line in runs.sweep_table(jobs, constant):
                    write(line)
    codes = {job.exit_code for job in jobs} - {0}
    return 0 if not codes else 2 if codes == {2} else 1


def _this_job() -> "Job":
    """What Hydra says of the run that it has begun, in whichever process."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from pipeline.commands.shared.runs import Job

    # As it stands: a folder's name may look like a reference.
    values: Any = OmegaConf.to_container(HydraConfig.instance().cfg, resolve=False)
    hydra = values["hydra"]
    number = hydra["job"]["num"]  # "???" for a run by itself
    return Job(
        folder=hydra["runtime"]["output_dir"],
        number=number if isinstance(number, int) else None,
        overrides=hydra["overrides"]["task"],
        exit_code=0,
    )


def _constant_keys(arguments: Sequence[str]) -> set[str]:
    """The keys of the overrides that have one value, the same in every job of a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(_overrides(arguments))
    return {each.get_key_element() for each in parsed if not each.is_sweep_override()}


def _explain_error(layout: Layout, error: Exception) -> PipelineError:
    """An error of Hydra's own: a configuration that it refuses, or that a run's folder cannot be made."""
    from pipeline.config.messages import explain  # not needed for --help
    from pipeline.config.schema import Config

    # Hydra's own complaints may be OSErrors, but without a number.
    if not isinstance(error, OSError) or error.errno is None:
        return ConfigError(explain(error, Config))
    place = layout.root / os.fsdecode(error.filename or "runs")
    advice = (
        "; runs and their states are kept in the checkout: train in a copy that can be written to,"
        " such as a git clone"
    )
    forbidden = error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}
    return PipelineError(f"cannot write {place}: {error.strerror}{advice if forbidden else ''}")


def _flags(arguments: Sequence[str]) -> set[str]:
    return {argument.partition("=")[0] for argument in arguments if argument.startswith("-")}


def _overrides(arguments: Sequence[str]) -> list[str]:
    return [
        argument
        for argument in arguments
        if argument.startswith("~") or ("=" in argument and not argument.startswith("-"))
    ]


# Hydra's flags that take what follows them.
_WITH_VALUE: Final = frozenset(
    {
        *("--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun"),
        *("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    }
)


def _order_arguments(arguments: Sequence[str]) -> list[str]:
    """Overrides first: argparse takes no further one after a flag that follows one."""
    overrides, flags, before = [], [], ""
    for argument in arguments:
        if argument.startswith("-") or before in _WITH_VALUE:
            flags.append("--help" if argument == "--choices" else argument)
        else:
            overrides.append(argument)
        before = argument
    return [*overrides, *flags]


def _needs_source(arguments: Sequence[str]) -> bool:
    """Whether the arguments run or show a configuration of conf/ and name no source."""
    is_named = any(re.match(r"(\+|\+\+|~)?source(=|$)", argument) for argument in arguments)
    return not is_named and _flags(arguments) <= _RUNNING | _SHOWING


def _check_overrides(layout: Layout, arguments: Sequence[str]) -> None:
    """Refuse what the run would refuse, before Hydra makes a folder for it or shows it.

    Raises:
        ConfigError: a value is wrong.
        UsageError: an experiment is named without experiment=.
    """
    flags = _flags(arguments)
    if not flags <= _SHOWING:
        # Each job of a sweep is composed by itself.
        return
    from pipeline.config.compose import compose  # not needed for --help
    from pipeline.core import runtime

    names = [argument for argument in arguments if re.fullmatch(r"[\w-]+", argument)]
    if names and not flags:
        raise UsageError(f"{names[0]}: beside overrides an experiment is given as experiment={names[0]}")
    config = compose(layout.conf, _overrides(arguments) if flags else arguments, from_environment=True)
    runtime.activate(config.runtime.name)
    from pipeline.stages.compose import check_names  # NumPy comes after the runtime

    check_names(config)


@contextlib.contextmanager
def _as_hydra_program(root: Path, arguments: Sequence[str]) -> Iterator[None]:
    """What Hydra takes from the process: its arguments, where runs/ is, that we see to errors."""
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR"), logging.raiseExceptions
    sys.argv = ["pipeline train", *_order_arguments(arguments)]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Hydra shows by logging, which would tell of each line that a reader who has gone did not read.
    logging.raiseExceptions = False
    try:
        with contextlib.chdir(root), _unchecked_help():
            yield
    finally:
        sys.argv, _, logging.raiseExceptions = before
        if before[1] is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before[1]


def run_composed(
    layout: Layout,
    composed: "DictConfig",
    folder: Path,
    engine: str = "",
    source: str = "",
    overrides: Sequence[str] = (),
) -> None:
    """Run one composed configuration into `folder`.

    Args:
        layout: of the checkout.
        composed: what Hydra made of the overrides.
        folder: a new one.
        engine: where a search runs; empty for what the environment says.
        source: the one of params.yaml, to be said, where the overrides named none.
        overrides: which gave this configuration, to be kept.

    Raises:
        PipelineError: a value is wrong, the data set is not parsed yet, or a stage fails.
    """
    from omegaconf import OmegaConf  # not needed for --help

    from pipeline.commands.shared.runs import OVERRIDES
    from pipeline.commands.shared.sources import parse_command, say_source
    from pipeline.config.compose import check, to_yaml
    from pipeline.core import runtime

    config = check(composed)
    runtime.activate(config.runtime.name)
    from pipeline.core.files.atomic import write_text  # NumPy comes after the runtime
    from pipeline.stages import evaluate, plot, split, train
    from pipeline.stages.compose import check_names
    from pipeline.stages.shared.context import ExperimentContext

    check_names(config)
    context = ExperimentContext(layout, config, Results(folder), engine)
    if not context.parsed.is_dir():
        raise PipelineError(
            f"{context.parsed} is missing: the data set has not been fetched and parsed.\n"
            f"Run {parse_command(layout, config.dataset.name, config.source)}"
        )
    if source:
        say_source(source, option="source=")
    write_text(context.results.config, to_yaml(config))
    write_text(folder / OVERRIDES, OmegaConf.to_yaml(list(overrides)))
    for stage in (split, train, evaluate, plot):
        stage.run(context)
    say(f"results in {folder}")


@contextlib.contextmanager
def _unchecked_help() -> Iterator[None]:
    """Python 3.14 formats help texts as they are added; one of Hydra 1.3's is no text until it is shown."""
    parser: Any = argparse.ArgumentParser
    parser._check_help = lambda *_: None  # noqa: SLF001  (hides its container's, where there is one)
    try:
        yield
    finally:
        del parser._check_help  # noqa: SLF001  (the same)
