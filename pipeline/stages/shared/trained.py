"""What the stages after train share: its trials, and the configuration that it trained in full."""

from pipeline.config.schema import Config
from pipeline.core.errors import FormatError
from pipeline.core.files import contracts
from pipeline.core.files.parameters import read_parameters
from pipeline.core.files.tables import read_csv
from pipeline.core.paths import Results
from pipeline.nn.arrays import Floats
from pipeline.nn.setup import network_of
from pipeline.search import table, trials
from pipeline.search.table import Tried


def read_trials(config: Config, results: Results) -> list[Tried]:
    """What the search tried, from trials.csv.

    Raises:
        PipelineError: trials.csv is missing, damaged, or of another search.
    """
    rows = read_csv(results.trials)
    remedy = f"train it again: dvc repro --force --single-item train@{config.name}"
    contracts.check_columns(rows, table.header(config.search), results.trials, remedy)
    try:
        return table.read_rows(config, rows)
    except ValueError as error:
        raise FormatError(f"{results.trials}: not a table of trials: {error}; {remedy}") from None
    except FormatError as error:
        raise FormatError(f"{results.trials}: {error}; {remedy}") from None


def trained_config(config: Config, results: Results) -> Config:
    """The configuration whose parameters were kept: the best trial's, or the only one.

    Raises:
        PipelineError: trials.csv is missing, damaged, or of another search.
    """
    tried = read_trials(config, results)
    best = table.best([each.outcome for each in tried])
    return trials.configured(config, tried[best.number].trial.values)


def trained_parameters(trained: Config, results: Results) -> Floats:
    """The parameters of a configuration from `trained_config`, as a flat vector (count,) of its dtype.

    Raises:
        PipelineError: parameters.pkl is missing, damaged, or of another network.
    """
    named = read_parameters(results.parameters)
    remedy = f"train it again: dvc repro --force --single-item train@{trained.name}"
    try:
        return network_of(trained).flatten(named)
    except FormatError as error:
        raise FormatError(f"{results.parameters}: {error}; {remedy}") from None
