"""From files and overrides to a checked configuration, and back to YAML.

YAML is read through OmegaConf alone, as Hydra does, since YAML readers disagree about numbers such as 1e-3.
"""

import contextlib
import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.build import T, build
from pipeline.config.checks import NAME, PLAIN_NAME, describe_value
from pipeline.config.dialects import check_file, check_folder
from pipeline.config.messages import explain, in_one_line
from pipeline.config.schema import Config, Dataset
from pipeline.config.space import is_range
from pipeline.core.conflicts import refuse_conflicts_in
from pipeline.core.descriptions import shorten
from pipeline.core.errors import ConfigError
from pipeline.core.registry import check_name, did_you_mean


def compose(conf: Path, overrides: Sequence[str] = (), *, from_environment: bool = False) -> Config:
    """The configuration that Hydra composes from the folder `conf` and command-line overrides, checked.

    Args:
        conf: Hydra's configuration folder.
        overrides: KEY=VALUE, as on its command line.
        from_environment: whether values may come from environment variables and the clock. Not where DVC
            decides what to run, which sees files alone.

    Raises:
        ConfigError: an override names nothing, a value is missing, of the wrong type or out of range; or a
            file says other things to DVC than to Hydra.
    """
    from hydra import compose as hydra_compose  # slow to import, and not every command composes
    from hydra import initialize_config_dir

    check_folder(conf)
    environment = contextlib.nullcontext() if from_environment else _files_alone()
    try:
        with initialize_config_dir(config_dir=str(conf.resolve()), version_base="1.3"), environment:
            composed = hydra_compose("config", overrides=hydra_overrides(overrides), return_hydra_config=True)
            if not from_environment:
                _refuse_outside(conf, composed.hydra)
            composed = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
            # Resolved in here.
            return check(composed)
    except ConfigError:
        raise
    # Apart from Hydra's and OmegaConf's own: those of the YAML parser, and ValueError.
    except Exception as error:
        # Of a choice that is no text Hydra does not say which.
        place = f"{' '.join(overrides)}: " if str(error).startswith("Config group override") else ""
        raise ConfigError(place + explain(error, Config)) from error


def _refuse_outside(conf: Path, hydra: DictConfig) -> None:
    """See that a configuration is made of files in `conf` alone, which are what DVC hashes.

    Raises:
        ConfigError: it is not.
    """
    if places := list(hydra.searchpath):
        raise ConfigError(
            f"hydra.searchpath={describe_value(places)}: expected none: DVC sees no files outside {conf}"
        )
    for group, choice in hydra.runtime.choices.items():
        if ".." in Path(str(choice)).parts:
            raise ConfigError(
                f"{group}={describe_value(choice)}: expected a file of {conf}: DVC sees no others"
            )


@contextlib.contextmanager
def _files_alone() -> Iterator[None]:
    """While the block runs, ${…} refers to other keys and to nothing outside the files.

    DVC would see no change in the environment or the clock, and skip the stages that have to run again.
    """
    # The resolvers of OmegaConf and Hydra that look elsewhere; there are no others in this project.
    for name in ("oc.env", "now", "hydra", "python_version"):
        OmegaConf.register_new_resolver(name, functools.partial(_refuse_resolver, name), replace=True)
    try:
        yield
    finally:
        OmegaConf.clear_resolvers()
        # Where Hydra is in use it has resolvers of its own; else it registers them when it starts.
        if "hydra.core.utils" in sys.modules:
            sys.modules["hydra.core.utils"].setup_globals()


def _refuse_resolver(name: str, *arguments: str) -> NoReturn:
    reference = ":".join([name, ",".join(map(str, arguments))]).rstrip(":")
    raise ConfigError(
        f"${{{reference}}} is not in any file, so DVC would not see it change: write the value, or use it in"
        " `pipeline train KEY=VALUE`"
    )


def hydra_overrides(overrides: Iterable[str]) -> list[str]:
    """Overrides as Hydra needs them: ``search.space.KEY=VALUE`` also for a key that the space has not yet.

    The value takes the place of what stands there: a list that of a range, and the other way round.
    """
    found = []
    for override in overrides:
        if match := re.match(r"(search\.space[\w.]*)=", override):
            # Hydra would merge a mapping into a list, and fail.
            found += [f"++{match[1]}=null", f"++{override}"]
        else:
            found.append(override)
    return found


def check(composed: DictConfig) -> Config:
    """The dataclass for what Hydra or a YAML file gave.

    Raises:
        ConfigError: a key is unknown or missing, a value of the wrong type or out of range.
    """
    return _checked(Config, composed)


def read_config(path: Path) -> Config:
    """The configuration that `to_yaml` once wrote to `path`.

    Raises:
        ConfigError: the file cannot be read, or is not a configuration.
    """
    with _files_alone():
        return check(_load(path))


def read_dataset(conf: Path, name: str, overrides: Sequence[str] = ()) -> Dataset:
    """The definition of one data set, from conf/dataset/NAME.yaml and dotted overrides of its keys.

    Raises:
        ConfigError: there is no such data set, or its definition is not sound.
    """
    path = conf / "dataset" / f"{name}.yaml"
    if not path.is_file():
        check_name(sorted(file.stem for file in (conf / "dataset").glob("*.yaml")), "dataset", name)
    for override in overrides:
        if "=" not in override:
            raise ConfigError(
                f"{override}: expected KEY=VALUE, such as sources.official.files.archive.bytes=1"
            )
    check_file(path)
    definition = _load(path)
    if "${" in OmegaConf.to_yaml(definition):
        # DVC sees the text of the keys that a stage uses, and not what it would refer to.
        raise ConfigError(f"{path}: found ${{…}}, expected plain values: write out what it stands for")
    try:
        merged = OmegaConf.merge(definition, OmegaConf.from_dotlist(list(overrides)))
    # As in `_load`; and lists cannot be changed by the item.
    except Exception as error:
        raise ConfigError(f"{' '.join(overrides)}: {explain(error, Config)}") from error
    with _files_alone():
        return _checked(Dataset, cast("DictConfig", merged))


def to_yaml(config: Config) -> str:
    """The whole configuration, resolved, as YAML; values that are not set are left out."""
    return OmegaConf.to_yaml(OmegaConf.create(_without_none(asdict(config))))


def experiment_overrides(params: DictConfig, name: str) -> list[str]:
    """What params.yaml says of an experiment, as Hydra overrides, in its order.

    Raises:
        ConfigError: params.yaml does not list the experiment, or lists it in another form.
    """
    plain = cast("dict[Any, Any]", OmegaConf.to_container(params))
    experiments = plain.get("experiments") or {}
    if not isinstance(experiments, dict):
        raise ConfigError(f"params.yaml: experiments={describe_value(experiments)}: expected a mapping")
    if name not in experiments:
        known = ", ".join(map(str, experiments)) or "none"
        hint = did_you_mean(name, list(map(str, experiments)))
        raise ConfigError(f"{name}: params.yaml lists no such experiment, only {known}{hint}")
    entry = experiments[name]
    if not isinstance(entry, dict) or "dataset" not in entry:
        raise ConfigError(f"params.yaml: experiments.{name} has to be a mapping with the key dataset")
    return [
        f"experiment={_quoted(name)}",
        f"source={_quoted(plain.get('source', 'bundled'))}",
        *_flattened(entry, ""),
    ]


def read_params(path: Path) -> DictConfig:
    """params.yaml, whose names DVC puts into the commands that a shell reads.

    Raises:
        ConfigError: it cannot be read, says other things to DVC than to OmegaConf, a shell would read a name
            as something else, or it selects what is not defined or not among its `datasets`.
    """
    check_file(path)
    params = _load(path)
    plain = cast("dict[Any, Any]", OmegaConf.to_container(params))
    _check_form(plain, path)
    for key, name in _selected_names(plain):
        if not NAME.fullmatch(str(name)):
            raise ConfigError(f"{path}: {key}: '{describe_value(name)}': expected {PLAIN_NAME}")
    _check_selection(plain, path)
    return params


def _check_form(params: Mapping[Any, Any], path: Path) -> None:
    """See that params.yaml has the form that is checked: DVC takes others too, into its commands."""
    for key, kind, words in (("datasets", list, "a list of names"), ("experiments", dict, "a mapping")):
        if not isinstance(params.get(key), kind):
            raise ConfigError(f"{path}: {key}: found {describe_value(params.get(key))}, expected {words}")
    for name, entry in params["experiments"].items():
        if not isinstance(entry, dict) or not isinstance(entry.get("dataset"), str):
            raise ConfigError(f"{path}: experiments.{name}: expected a mapping with the key dataset")


def _check_selection(params: Mapping[Any, Any], path: Path) -> None:
    """See that what params.yaml selects is defined in conf/, and that DVC parses the data of each experiment.

    Raises:
        ConfigError: it is not; DVC itself would only say that a file is missing, and after other stages.
    """
    datasets = params.get("datasets") or []
    for key, name in _selected_names(params):
        group = "experiment" if key == "experiments" else "dataset"
        if key != "source" and not (path.parent / "conf" / group / f"{name}.yaml").is_file():
            raise ConfigError(f"{path}: {key}: {name}: there is no conf/{group}/{name}.yaml")
        if key.endswith(".dataset") and isinstance(datasets, list) and name not in datasets:
            raise ConfigError(
                f"{path}: {key}: {name} is not among `datasets` ({', '.join(map(str, datasets))}):"
                " add it there"
            )


def _selected_names(params: Mapping[Any, Any]) -> Iterator[tuple[str, object]]:
    """Every name in params.yaml with the key that it stands at; what has another form is told elsewhere."""
    yield "source", params.get("source", "bundled")
    datasets, experiments = params.get("datasets"), params.get("experiments")
    for dataset in datasets if isinstance(datasets, list) else ():
        yield "datasets", dataset
    for name, entry in experiments.items() if isinstance(experiments, dict) else ():
        yield "experiments", name
        if isinstance(entry, dict) and isinstance(entry.get("dataset"), str):
            yield f"experiments.{name}.dataset", entry["dataset"]


def _load(path: Path) -> DictConfig:
    refuse_conflicts_in(path)
    try:
        loaded = OmegaConf.load(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    # A YAML parser's complaints have many classes.
    except Exception as error:
        raise ConfigError(f"{path}: {shorten(in_one_line(error), 300)}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected a mapping")
    return loaded


def _checked(schema: type[T], given: DictConfig) -> T:
    try:
        plain = OmegaConf.to_container(given, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, Config)) from error
    return build(schema, plain)


def _without_none(value: Any) -> Any:  # noqa: ANN401  (plain YAML data)
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def _flattened(entry: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    for key, value in entry.items():
        # A range is one value: it may take the place of a list.
        if isinstance(value, dict) and not (prefix.startswith("search.space.") and is_range(value)):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            # ++ because a choice need not have the key; the schema knows if it may. Hydra refuses it for a
            # choice itself, which stands at the top; `compose` sees to search spaces.
            mark = "++" if prefix and not prefix.startswith("search.space.") else ""
            yield f"{mark}{prefix}{key}={_quoted(value)}"


def _quoted(value: Any) -> str:  # noqa: ANN401  (plain YAML data)
    """A value in the grammar of Hydra's overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(_quoted(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_quoted(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        # Backslashes mean themselves except before a quote.
        return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + "\\'" * bool(found[2]), value) + "'"
    return str(value)
