"""runs: list the runs apart from DVC, with their accuracies and what differs from their experiment."""

import argparse
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.core.paths import Layout, Results

if TYPE_CHECKING:
    from pipeline.config.schema import Config

EXAMPLE = "runs mnist_two_layer"

# Of no bearing on a result.
_LEFT_OUT: Final = {"name", "published"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "The runs in runs/, those of `pipeline train KEY=VALUE …`: the accuracies of each, and what differs"
        " from its experiment as conf/ defines it now. Its folder has config.yaml, overrides.yaml, run.log,"
        " the figures and the pictures."
    )
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="list only runs of these")
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Print the runs; one that cannot be read, of another version or damaged, is a line that says so."""
    from pipeline.commands.shared.runs import accuracy_cells  # not needed for --help
    from pipeline.commands.shared.terminal import table, write, write_json

    found = [
        each
        for each in _read(layout)
        if not options.experiments or "error" in each or each["experiment"] in options.experiments
    ]
    if options.json:
        write_json({"runs": found})
        return
    if not found:
        write(
            f"no runs in {layout.root / 'runs'}: `pipeline train experiment=NAME KEY=VALUE …` makes one there"
        )
        return
    rows = [["run", "data", "valid", "test", "differs from its experiment in"]]
    for each in found:
        if "error" in each:
            rows.append([each["run"], "", "", "", each["error"]])
            continue
        differences = each["differences"]
        told = "not known: conf/ has no such experiment on such data now"
        if differences is not None:
            told = " ".join(f"{key}={value}" for key, value in differences.items()) or "nothing"
        data = f"{each['source']} {each['dataset']}"
        rows.append([each["run"], data, *accuracy_cells(each["figures"]), told])
    for line in table(rows, left=(0, 1, 4)):
        write(line)


def _read(layout: Layout) -> Iterator[dict[str, Any]]:
    """What is told of each run, the oldest first: of one that cannot be read, why."""
    from pipeline.commands.shared.runs import read_figures, read_overrides  # not needed for --help
    from pipeline.config.compose import read_config
    from pipeline.core.errors import PipelineError

    home = layout.root / "runs"
    bases: dict[tuple[str, ...], dict[str, Any] | None] = {}
    for path in sorted(home.rglob(Results(home).config.name)):
        run = path.parent.relative_to(home).as_posix()
        try:
            config, overrides = read_config(path), read_overrides(path.parent)
            figures = read_figures(path.parent)
        except PipelineError as error:
            yield {"run": run, "error": str(error).removeprefix(f"{path.parent}/").splitlines()[0]}
            continue
        base = config.name, config.source, config.dataset.name
        if base not in bases:
            found = _config_in_conf(layout, config)
            bases[base] = None if found is None else _values(found)
        values = bases[base]
        yield {
            "run": run,
            "experiment": config.name,
            "dataset": config.dataset.name,
            "source": config.source,
            "overrides": overrides,
            "differences": None if values is None else _differences(values, _values(config), overrides),
            "figures": figures,
        }


def _config_in_conf(layout: Layout, config: "Config") -> "Config | None":
    """The experiment as conf/ has it now; what every run has where there is no such experiment.

    Where the experiment's own data set has no such source, that of the run takes its place; None where conf/
    has none of them any more.
    """
    from pipeline.config.compose import compose  # not needed for --help
    from pipeline.core.errors import ConfigError

    is_there = (layout.conf / "experiment" / f"{config.name}.yaml").is_file()
    experiment = [f"experiment={config.name}"] if is_there else []
    dataset, source = f"dataset={config.dataset.name}", f"source={config.source}"
    for data in ([source], [dataset, source]) if is_there else ([dataset, source],):
        with contextlib.suppress(ConfigError):
            return compose(layout.conf, [*experiment, *data])
    return None


def _values(config: "Config") -> dict[str, Any]:
    """Every value of a configuration by its key."""
    from omegaconf import OmegaConf  # slow to import

    from pipeline.config.compose import to_yaml
    from pipeline.report.versions import leaves

    nested: Any = OmegaConf.to_container(OmegaConf.create(to_yaml(config)))  # a mapping, as the YAML is
    return {key: value for key, value in leaves(nested) if key.partition(".")[0] not in _LEFT_OUT}


def _differences(
    base: Mapping[str, Any], values: Mapping[str, Any], overrides: Sequence[str]
) -> dict[str, Any]:
    """What differs; of another choice only its name, and what was asked for by its key."""
    keys = dict.fromkeys((*base, *values))
    changed = {key: values.get(key) for key in keys if base.get(key) != values.get(key)}
    asked = {override.partition("=")[0].lstrip("+") for override in overrides}
    found = {}
    for key, value in changed.items():
        group = key.partition(".")[0]
        if f"{group}.name" not in changed or key in asked:
            found[key] = value
        elif key == f"{group}.name":
            found[group] = value
    return found
