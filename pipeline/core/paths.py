"""Every path under data/, outputs/ and runs/, named once."""

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PipelineError


def shown_path(path: Path) -> str:
    """A path as short as it can be: relative to the working directory where it lies below that."""
    return os.path.relpath(path) if path.absolute().is_relative_to(Path.cwd()) else str(path)


def find_root(start: Path | None = None) -> Path:
    """The checkout that `start` (by default the working directory) lies in.

    Raises:
        PipelineError: no folder from `start` upwards holds both dvc.yaml and conf/.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "conf").is_dir():
            return folder
    raise PipelineError(
        f"{here} is not inside a checkout of the pipeline: no dvc.yaml and conf/ from here upwards;"
        " `pipeline init FOLDER` makes one"
    )


@dataclass(frozen=True)
class Results:
    """The files of one trained experiment, whether DVC's (outputs/NAME) or an ad-hoc run's (runs/...).

    Attributes:
        folder: in which they are.
        summary_folder: for the file that the table of results is made of, where that is another one.
        page_folder: for the file that the page is made of, likewise.
    """

    folder: Path
    summary_folder: Path | None = None
    page_folder: Path | None = None

    @property
    def config(self) -> Path:
        """The fully resolved configuration."""
        return self.folder / "config.yaml"

    @property
    def split(self) -> Path:
        """Index arrays of the parts, and the statistics of the train part."""
        return self.folder / "split.npz"

    @property
    def parameters(self) -> Path:
        """The trained parameters: a pickle of dict[str, ndarray]."""
        return self.folder / "parameters.pkl"

    @property
    def history(self) -> Path:
        """One row per epoch."""
        return self.folder / "history.csv"

    @property
    def steps(self) -> Path:
        """One row per step: the loss of its batch."""
        return self.folder / "steps.csv"

    @property
    def trials(self) -> Path:
        """One row per trial of a search; only the header where nothing was searched."""
        return self.folder / "trials.csv"

    @property
    def metrics(self) -> Path:
        """The accuracy on each part by its name, and the loss on the test part."""
        return self.folder / "metrics.json"

    @property
    def per_part(self) -> Path:
        """Images, accuracy and loss of each part, and the test part's expected calibration error."""
        return self.folder / "per_part.csv"

    @property
    def per_class(self) -> Path:
        """Precision, recall, F1 and ROC area of each class on the test part."""
        return self.folder / "per_class.csv"

    @property
    def predictions(self) -> Path:
        """Actual and predicted class of every test image."""
        return self.folder / "predictions.csv"

    @property
    def probabilities(self) -> Path:
        """Class probabilities of every test image, its label and its index in the test set."""
        return self.folder / "probabilities.npz"

    @property
    def roc(self) -> Path:
        """The micro-averaged ROC curve of the test part."""
        return self.folder / "roc.csv"

    @property
    def plots(self) -> Path:
        """The pictures."""
        return self.folder / "plots"

    @property
    def summary(self) -> Path:
        """What the table of results says of it."""
        if self.summary_folder is None:
            return self.folder / "summary.json"
        return self.summary_folder / f"{self.folder.name}.json"

    @property
    def page(self) -> Path:
        """What the page shows of it."""
        if self.page_folder is None:
            return self.folder / "page.json"
        return self.page_folder / f"{self.folder.name}.json"


@dataclass(frozen=True)
class Layout:
    """Paths below one checkout."""

    root: Path

    @property
    def conf(self) -> Path:
        """Hydra's configuration folder."""
        return self.root / "conf"

    @property
    def params(self) -> Path:
        """DVC's parameters: what is selected."""
        return self.root / "params.yaml"

    @property
    def results_table(self) -> Path:
        """The table of published and own results, in Markdown."""
        return self.root / "outputs" / "results.md"

    @property
    def results_data(self) -> Path:
        """The same as JSON."""
        return self.root / "outputs" / "results.json"

    @property
    def summaries(self) -> Path:
        """What each experiment adds to them: NAME.json. No experiment can have a dot in its name."""
        return self.root / "outputs" / "results.d"

    @property
    def report(self) -> Path:
        """The page of all experiments."""
        return self.root / "outputs" / "report.html"

    @property
    def pages(self) -> Path:
        """What it shows of each: NAME.json."""
        return self.root / "outputs" / "report.d"

    def raw(self, source: str, dataset: str) -> Path:
        """Where fetch puts the files of a data set."""
        return self.root / "data" / "raw" / source / dataset

    def parsed(self, source: str, dataset: str) -> Path:
        """Where parse puts the arrays of a data set."""
        return self.root / "data" / "parsed" / source / dataset

    def parts(self, source: str, dataset: str) -> Path:
        """Where unfinished downloads wait to be resumed, outside DVC's outputs."""
        return self.root / "runs" / "parts" / source / dataset

    @property
    def states(self) -> Path:
        """Where interrupted stages keep what they had done."""
        return self.root / "runs" / "state"

    def state(self, experiment: str) -> Path:
        """Where the train stage of one experiment keeps what it had done."""
        return self.states / experiment

    def results(self, experiment: str) -> Results:
        """The files of one experiment under DVC."""
        return Results(self.root / "outputs" / experiment, self.summaries, self.pages)
