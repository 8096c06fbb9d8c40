"""What a stage is given: the checkout, and what of it is to be worked on."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.schema import Config, Dataset
from pipeline.core.paths import Layout, Results


@dataclass(frozen=True)
class Context:
    """Of compose, results and report.

    Attributes:
        layout: of the checkout.
        name: of the experiment; empty for a stage of all of them.
    """

    layout: Layout
    name: str = ""


@dataclass(frozen=True)
class DatasetContext:
    """Of fetch and parse.

    Attributes:
        layout: of the checkout.
        dataset: its definition.
        source: which of its sources, ``bundled`` or ``official``.
    """

    layout: Layout
    dataset: Dataset
    source: str

    @property
    def raw(self) -> Path:
        """The folder of the files as they come from the source."""
        return self.layout.raw(self.source, self.dataset.name)

    @property
    def parsed(self) -> Path:
        """The folder of the arrays."""
        return self.layout.parsed(self.source, self.dataset.name)


@dataclass(frozen=True)
class ExperimentContext:
    """Of every other stage.

    Attributes:
        layout: of the checkout.
        config: the experiment's configuration.
        results: where its files are: DVC's folder, or that of a run apart from DVC.
        engine: where a search runs: a key of `pipeline.search.engines.ENGINES`; empty for what the
            environment says.
    """

    layout: Layout
    config: Config
    results: Results
    engine: str = ""

    @property
    def parsed(self) -> Path:
        """The folder of the data set's arrays."""
        return self.layout.parsed(self.config.source, self.config.dataset.name)
