"""What the stages after train share: its trials, and the configuration that it trained in full."""

from pipeline.config.schema import Config
from pipeline.core.errors import FormatError
from pipeline.core.files.tables import read_csv
from pipeline.core.paths import Results
from pipeline.search import table, trials
from pipeline.search.table import Tried


def read_trials(config: Config, results: Results) -> list[Tried]:
    """What the search tried, from trials.csv.

    Raises:
        PipelineError: trials.csv is missing, damaged, or of another search.
    """
    rows = read_csv(results.trials)
    try:
        return table.read_rows(config, rows)
    except (KeyError, ValueError) as error:
        raise FormatError(f"{results.trials}: not a table of trials: {error}") from None
    except FormatError as error:
        raise FormatError(
            f"{results.trials}: {error}; train it again: dvc repro train@{config.name}"
        ) from None


def trained_config(config: Config, results: Results) -> Config:
    """The configuration whose parameters were kept: the best trial's, or the only one.

    Raises:
        PipelineError: trials.csv is missing, damaged, or of another search.
    """
    tried = read_trials(config, results)
    best = table.best([each.outcome for each in tried])
    return trials.configured(config, tried[best.number].trial.values)
