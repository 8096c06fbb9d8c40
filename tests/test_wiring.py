"""The registries, conf/, params.yaml and dvc.yaml against each other."""

import ast
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml
from omegaconf import OmegaConf

from pipeline.__main__ import list_modules
from pipeline.config.build import with_values
from pipeline.config.checks import NAME
from pipeline.config.compose import compose, read_dataset, read_params, to_yaml
from pipeline.core import runtime
from pipeline.core.paths import Layout
from pipeline.data.datasets import check_roles
from pipeline.data.splitting import SPLITTERS
from pipeline.data.standins import DRAWINGS
from pipeline.nn import sampling
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.arrays import RANDOM_SOURCES
from pipeline.nn.augmentation import AUGMENTATIONS
from pipeline.nn.gradients import GRADIENTS
from pipeline.nn.initializers import INITIALIZERS
from pipeline.nn.losses import LOSSES
from pipeline.nn.optimizers import OPTIMIZERS
from pipeline.nn.preprocessing import PREPROCESSORS
from pipeline.nn.regularization import REGULARIZERS
from pipeline.nn.schedules import SCHEDULES
from pipeline.search import strategies
from pipeline.stages.compose import check_names
from tests.shared import imports_of

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
PARAMS = read_params(ROOT / "params.yaml")
RECORDS = read_params(ROOT / "records" / "params.yaml")
PIPELINE = OmegaConf.to_container(OmegaConf.load(ROOT / "dvc.yaml"), resolve=False)
STAGES = PIPELINE["stages"]
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
DATA_STAGES = ("fetch", "parse")
# Inside `do` for a stage of many, at the top for a single one.
DEFINITIONS = {name: stage.get("do", stage) for name, stage in STAGES.items()}


def options(group: str) -> set[str]:
    return {path.stem for path in (CONF / group).glob("*.yaml")}


@pytest.mark.parametrize(
    ("group", "registry"),
    [
        ("preprocess", PREPROCESSORS),
        ("augment", AUGMENTATIONS),
        ("initializer", INITIALIZERS),
        ("loss", LOSSES),
        ("regularizer", REGULARIZERS),
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("search", strategies.STRATEGIES),
        ("runtime", runtime.TIERS),
    ],
)
def test_a_choice_has_one_file_for_every_name_in_its_registry(group: str, registry: object) -> None:
    assert options(group) == set(registry)  # type: ignore[call-overload]  # registries are mappings of many kinds
    for name in options(group):
        assert OmegaConf.load(CONF / group / f"{name}.yaml")["name"] == name


@pytest.mark.parametrize("group", ["optimizer", "schedule", "augment"])
def test_the_hyperparameters_in_conf_are_those_of_the_registry(group: str) -> None:
    registry: dict[str, Any] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "augment": AUGMENTATIONS}
    for name, entry in registry[group].items():
        given = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
        settings = {key: value for key, value in given.items() if key not in {"name", "learning_rate"}}
        assert settings == dict(entry.defaults)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_names_itself(experiment: str) -> None:
    for source in compose(CONF, [f"experiment={experiment}"]).dataset.sources:
        config = compose(CONF, [f"experiment={experiment}", f"source={source}"])
        assert config.name == experiment
        check_names(config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "option"),
    [
        (path.parent.name, path.stem)
        for path in sorted(CONF.glob("*/*.yaml"))
        if path.parent.name != "experiment"  # see above
    ],
)
def test_every_file_in_conf_can_be_chosen(group: str, option: str) -> None:
    needs: list[str] = []
    if group == "search" and option != "none":
        needs = ["search.space.seed={low: 0, high: 99, integer: true}", "split=mnist_50_10_10"]
    if group == "training" and option == "numerical":
        needs = ["dtype=float64"]
    if "test_fraction" in (chosen := OmegaConf.load(CONF / group / f"{option}.yaml")):
        needs = ["dataset=digits8"]
    if group == "dataset" and chosen.sources.official.get("test_count") == 0:
        needs = ["split=stratified_60_20_20"]
    check_names(compose(CONF, [f"{group}={option}", "source=official", *needs]))


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_is_sound(name: str) -> None:
    dataset = read_dataset(CONF, name)
    assert dataset.name == name
    for source in dataset.sources.values():
        check_roles(dataset.format, source)
        assert source.drawing is None or source.drawing in DRAWINGS
        assert all(mirror.startswith("https://") for mirror in source.mirrors)


def test_every_name_in_the_code_can_be_reached_from_a_configuration() -> None:
    config = compose(CONF, ["source=official"])
    for values in (
        *({"model.activation": name} for name in ACTIVATIONS),
        *({"random": name} for name in RANDOM_SOURCES),
        *({"training.sampling": name} for name in sampling.SAMPLERS),
        *({"training.gradient": name, "dtype": "float64"} for name in GRADIENTS),
        *({"split.name": name} for name in SPLITTERS),
    ):
        check_names(with_values(config, values))


def test_params_lists_what_conf_defines() -> None:
    assert {*PARAMS.experiments, *RECORDS.experiments} <= set(EXPERIMENTS)
    for params in (PARAMS, RECORDS):
        assert set(params.datasets) <= set(DATASETS)


@pytest.mark.parametrize("experiment", [*PARAMS.experiments, *RECORDS.experiments])
def test_params_and_the_experiment_agree_about_the_data_set(experiment: str) -> None:
    alone = compose(CONF, [f"experiment={experiment}"])
    params = RECORDS if experiment in RECORDS.experiments else PARAMS
    assert params.experiments[experiment].dataset == alone.dataset.name
    assert alone.dataset.name in params.datasets


def source_file(module: str) -> Path | None:
    base = ROOT / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def import_closure(modules: list[str]) -> set[str]:
    """Repository paths of all source files of the package that importing `modules` can load."""
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = source_file(module)
        if not module.startswith("pipeline") or path is None or path in found:
            continue
        found.add(path)
        waiting += imports_of(path)
        waiting += [module.rpartition(".")[0]]
    return {path.relative_to(ROOT).as_posix() for path in found}


def has_code(path: Path) -> bool:
    # The package's own __init__ calls core/runtime and holds the version, which every release changes.
    if path == ROOT / "pipeline" / "__init__.py":
        return False
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def code_of_stage(stage: str) -> set[str]:
    # __main__ only parses the command line: a new command has no bearing on any result.
    return import_closure(["pipeline.stages.shared.runner", f"pipeline.stages.{stage}"])


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_waits_for_the_code_that_a_stage_imports_and_for_no_other_folder(stage: str) -> None:
    listed = {
        file.relative_to(ROOT).as_posix()
        for dependency in DEFINITIONS[stage]["deps"]
        if dependency.startswith("pipeline/")
        for file in ([ROOT / dependency] if dependency.endswith(".py") else (ROOT / dependency).rglob("*.py"))
    }
    # A package's docstring has no bearing on any result.
    code = {path for path in code_of_stage(stage) if has_code(ROOT / path)}
    assert code <= listed
    for dependency in DEFINITIONS[stage]["deps"]:
        if dependency.startswith("pipeline/"):
            assert any(path == dependency or path.startswith(f"{dependency}/") for path in code), dependency


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in DATA_STAGES])
def test_dvc_watches_only_parameters_that_a_configuration_has(stage: str) -> None:
    config = OmegaConf.create(to_yaml(compose(CONF, ["experiment=mnist_two_layer"])))
    for entry in DEFINITIONS[stage].get("params", ()):
        if isinstance(entry, dict):
            (keys,) = entry.values()
            for key in keys:
                assert OmegaConf.select(config, key.replace("${source}", "bundled")) is not None, key


@pytest.mark.parametrize("stage", DATA_STAGES)
@pytest.mark.parametrize("name", DATASETS)
def test_dvc_watches_only_parameters_that_a_data_set_has(stage: str, name: str) -> None:
    file = CONF / "dataset" / f"{name}.yaml"
    definition = OmegaConf.load(file)
    # DVC has a YAML reader of its own.
    assert load_yaml(str(file)) == definition
    ((path, keys),) = DEFINITIONS[stage]["params"][0].items()
    assert path == "conf/dataset/${item}.yaml"
    for source in definition.sources:
        for key in keys:
            assert OmegaConf.select(definition, key.replace("${source}", source)) is not None, key


def test_what_dvc_lists_of_an_experiment_is_right() -> None:
    """DVC has no foreach for these lists. An experiment need not be in them, nor leave them when it goes."""
    artifacts = {name: f"outputs/{name}/parameters.pkl" for name in PIPELINE["artifacts"]}
    assert {name: entry["path"] for name, entry in PIPELINE["artifacts"].items()} == artifacts
    assert {entry["type"] for entry in PIPELINE["artifacts"].values()} == {"model"}
    plots = {name: plot for entry in PIPELINE["plots"] for name, plot in entry.items()}
    overlaid = {}
    for dataset in PARAMS.datasets:
        columns = plots.pop(f"{dataset}_accuracy")["y"]
        for path, column in columns.items():
            experiment = Path(path).parent.name
            config = compose(CONF, [f"experiment={experiment}"])
            assert config.dataset.name == dataset
            # On images that it does not train on, where it has any but the test part.
            has_valid = (config.split.valid_count or 0) > 0
            overlaid[experiment] = f"{'valid' if has_valid else 'train'}_accuracy"
            assert (path, column) == (f"outputs/{experiment}/history.csv", overlaid[experiment])
    assert set(overlaid) == set(artifacts)
    searches = [name for name in overlaid if compose(CONF, [f"experiment={name}"]).search.space]
    assert {name: plot["y"] for name, plot in plots.items()} == {
        f"{name}_trials": {f"outputs/{name}/trials.csv": "valid_accuracy"} for name in searches
    }


def test_stages_modules_and_commands_have_one_name() -> None:
    for stage, definition in DEFINITIONS.items():
        assert source_file(f"pipeline.stages.{stage}")
        assert definition["cmd"].split()[:4] == ["python", "-m", "pipeline", stage]


def test_every_module_beside_those_that_are_shared_is_a_stage_or_command() -> None:
    for folder in ("stages", "commands"):
        modules = {path.stem for path in (ROOT / "pipeline" / folder).iterdir()}
        named = {name.replace("-", "_") for name in list_modules(folder)}
        assert named == modules - {"__init__", "__pycache__", "shared"}
    assert set(list_modules("stages")) == set(STAGES)


@pytest.mark.parametrize(
    ("stage", "maker", "folder", "file"),
    [("results", "evaluate", "summaries", "summary"), ("report", "plot", "pages", "page")],
)
def test_a_stage_of_all_experiments_waits_for_every_one(
    stage: str, maker: str, folder: str, file: str
) -> None:
    layout = Layout(ROOT)
    path = getattr(layout, folder)
    relative = path.relative_to(ROOT).as_posix()
    assert relative in DEFINITIONS[stage]["deps"]
    assert f"{relative}/${{key}}.json" in DEFINITIONS[maker]["outs"]
    for experiment in EXPERIMENTS:
        assert getattr(layout.results(experiment), file) == path / f"{experiment}.json"
    # No experiment's own folder is taken for it.
    assert NAME.fullmatch(path.name) is None
