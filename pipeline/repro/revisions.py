"""What two revisions made of the same experiments: their outputs by DVC and git, with nothing checked out.

DVC reads a file of a commit from git, from its cache, or else from a remote, and a file of the workspace from
the disk or else from the cache.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from omegaconf import OmegaConf

from pipeline.core.descriptions import shorten
from pipeline.core.errors import FormatError, PipelineError, UsageError
from pipeline.core.files import contracts, images
from pipeline.core.files.arrays import map_npy, read_arrays
from pipeline.core.files.atomic import write_bytes
from pipeline.core.files.tables import read_csv, read_json
from pipeline.core.paths import Layout, Results
from pipeline.core.registry import did_you_mean
from pipeline.nn.arrays import Floats, Pixels
from pipeline.report.changes import Changes, ExperimentChange, Side, judge
from pipeline.report.versions import Outputs, Version, compare_versions

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

WORKSPACE: Final = "workspace"
_REMEDY: Final = "it is of another version of the pipeline, or damaged"
_STAGES: Final = ("compose", "split", "train", "evaluate")


class Revision:
    """A commit, or the workspace, and the outputs that it has.

    Attributes:
        side: its name and commit.
        experiments: those of its params.yaml.
        lacks_data: whether a file that was read is recorded, but not to be had.
    """

    def __init__(self, side: Side, files: "DVCFileSystem", inside: PurePosixPath, folder: Path) -> None:
        self.side = side
        self._files = files
        self._inside = inside
        self._folder = folder
        self.lacks_data = False
        params = self._yaml("params.yaml")
        listed = params.get("experiments")
        self.experiments = [str(name) for name in listed] if isinstance(listed, dict) else []

    def version(self, experiment: str) -> Version:
        """What it has of an experiment, whose test part it measured.

        Raises:
            PipelineError: an output is not to be had, or is not what evaluate writes.
        """
        results = self._fetch(experiment, "config", "split", "probabilities")
        configuration = _read_yaml(results.config)
        try:
            definition = configuration["dataset"]["sources"][configuration["source"]]
            classes, places = len(definition["classes"]), _count_places(definition)
            str(configuration["dataset"]["name"]), str(configuration["loss"]["name"])
        except (KeyError, TypeError, ValueError) as error:
            title = self._title(results.config)
            raise FormatError(f"{title}: {error} is not as expected; {_REMEDY}") from None
        arrays = read_arrays(results.probabilities)
        rules = contracts.probabilities_rules(classes, places)
        contracts.check(arrays, rules, Path(self._title(results.probabilities)), _REMEDY)
        parts = read_arrays(results.split)
        return Version(
            configuration,
            Outputs(arrays["probabilities"], arrays["labels"], arrays["images"]),
            {part: parts[part] for part in ("train", "valid") if part in parts},
            self._figures(experiment),
        )

    def _figures(self, experiment: str) -> dict[str, dict[str, float]]:
        """Accuracy and loss of the parts: of per_part.csv, or of metrics.json where that has them instead."""
        path = Layout(Path()).results(experiment).per_part
        if not self._files.exists((self._inside / path.as_posix()).as_posix()):
            return _figures_of_old(read_json(self._fetch(experiment, "metrics").metrics))
        table = self._fetch(experiment, "per_part").per_part
        try:
            return {
                row["part"]: {name: float(row[name]) for name in ("accuracy", "loss")}
                for row in read_csv(table)
            }
        except (KeyError, ValueError) as error:
            raise FormatError(f"{self._title(table)}: not a table of the parts: {error}") from None

    def configuration_file(self, experiment: str) -> Path:
        """A copy of an experiment's resolved configuration.

        Raises:
            PipelineError: it is not to be had.
        """
        return self._fetch(experiment, "config").config

    def history(self, experiment: str) -> Mapping[str, Floats]:
        """The columns of an experiment's history.csv, (rows,) each.

        Raises:
            PipelineError: it is not to be had, or is not what train writes.
        """
        path = self._fetch(experiment, "history").history
        return contracts.numbers(read_csv(path), contracts.HISTORY, Path(self._title(path)), _REMEDY)

    def test_images(self, version: Version) -> Pixels:
        """The images that a version's test part has its places in: uint8 (count, height, width, channels).

        Raises:
            PipelineError: they are not to be had, or not what parse writes.
        """
        name, source, definition = version.data
        part: images.Part = "train" if definition.get("test_count") == 0 else "test"
        path = images.images_path(Layout(Path()).parsed(source, name), part)
        if not (copy := self._folder / path).exists():
            write_bytes(copy, self._read(path.as_posix(), f"parse@{name}"))
        found, title = map_npy(copy), Path(self._title(copy))
        rules = contracts.parsed_rules(version.configuration["dataset"].get("image_shape"), None)
        contracts.check({"images": found}, {"images": rules["images"]}, title, _REMEDY)
        if version.outputs.images.max() >= len(found):
            raise FormatError(f"{title}: found {len(found):,}, expected as many as were tested; {_REMEDY}")
        return found

    def page_files(self) -> Layout:
        """Copies of what the page is made of, in the places that they have in a checkout.

        Raises:
            PipelineError: one of them is not to be had.
        """
        here, there = Layout(self._folder), Layout(Path())
        for name in self.experiments:
            path = there.results(name).page.as_posix()
            write_bytes(here.results(name).page, self._read(path, f"plot@{name}"))
        write_bytes(here.results_data, self._read(there.results_data.as_posix(), "results"))
        return here

    def _fetch(self, experiment: str, *names: str) -> Results:
        """Copy files of an experiment, attributes of `Results`, into the temporary folder."""
        here, there = (Layout(root).results(experiment) for root in (self._folder, Path()))
        for name in names:
            path = getattr(there, name).as_posix()
            write_bytes(getattr(here, name), self._read(path, f"evaluate@{experiment}"))
        return here

    def _yaml(self, path: str) -> dict[str, Any]:
        copy = self._folder / path
        write_bytes(copy, self._read(path, "compose"))
        return _read_yaml(copy)

    def _read(self, path: str, stage: str) -> bytes:
        """The bytes of a file.

        Raises:
            PipelineError: git or DVC does not have it.
        """
        place = (self._inside / path).as_posix()
        try:
            with self._files.open(place, "rb") as file:
                data: bytes = file.read()
        # Each kind of remote has errors of its own.
        except Exception as error:
            raise PipelineError(self._describe_absence(path, place, stage, error)) from error
        return data

    def _describe_absence(self, path: str, place: str, stage: str, error: Exception) -> str:
        name = self.side.name
        if not self._files.exists(place):
            advice = f": dvc repro {stage}" if name == WORKSPACE else ", in git or in its dvc.lock"
            return f"{name} has no {path}{advice}"
        self.lacks_data = True
        if isinstance(error, FileNotFoundError):
            return f"{path} of {name} is neither in DVC's cache nor in a remote"
        return f"{path} of {name} cannot be read: {shorten(str(error) or type(error).__name__)}"

    def _title(self, path: Path) -> str:
        return f"{path.relative_to(self._folder).as_posix()} of {self.side.name}"


def _count_places(definition: dict[str, Any]) -> int:
    """How many places a test part's images may have, by the definition of a source.

    They are places in the train set where there is no test set. A definition may leave open how many.
    """
    count = definition.get("test_count")
    if count == 0:
        count = definition.get("train_count")
    return sys.maxsize if count is None else int(count)


def _read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain values, whichever version of the pipeline it is of."""
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    # A YAML parser's complaints have many classes.
    except Exception as error:
        raise FormatError(f"{path.name}: {shorten(str(error))}") from error
    if not isinstance(found, dict):
        raise FormatError(f"{path.name}: expected a mapping")
    return found


def _figures_of_old(metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Accuracy and loss of the parts in a metrics.json from before there was per_part.csv."""
    return {
        part: {"accuracy": float(values["accuracy"]), "loss": float(values["loss"])}
        for part, values in metrics.items()
        if isinstance(values, dict) and {"accuracy", "loss"} <= set(values)
    }


@contextlib.contextmanager
def open_revisions(root: Path, first: str, second: str) -> Iterator[tuple[Revision, Revision, "Repo"]]:
    """Both revisions, and DVC's repository of the workspace.

    Args:
        root: a checkout.
        first: a revision of git's, the name of a DVC experiment, or ``workspace``.
        second: likewise.

    Raises:
        UsageError: a revision is unknown.
        PipelineError: there is no git repository or no commit, or params.yaml is missing in a revision.
    """
    from dvc.api import DVCFileSystem  # takes half a second
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCM, NoSCM, SCMError

    no_git = (
        f"{root} is no git repository, so it has no revisions to compare: git init && git add . &&"
        " git commit; two pickles are compared by pipeline compare A.pkl B.pkl"
    )
    try:
        SCM(str(root)).close()  # first, for without git Repo fails with its databases open
        repo = Repo(str(root))
    except SCMError as error:
        raise PipelineError(no_git) from error
    except DvcException as error:
        raise PipelineError(f"{root}: DVC cannot open it: {shorten(str(error))}") from error
    with (
        repo,
        contextlib.ExitStack() as opened_files,
        tempfile.TemporaryDirectory(prefix="pipeline-diff-") as folder,
    ):
        if isinstance(repo.scm, NoSCM):  # core.no_scm
            raise PipelineError(no_git)
        if repo.scm.no_commits:
            raise PipelineError(f"{root} has no commit yet, and so nothing to compare with: git commit")
        inside = PurePosixPath(root.resolve().relative_to(Path(repo.scm.root_dir).resolve()).as_posix())
        opened = []
        for number, name in enumerate((first, second)):
            side = Side(name, None if name == WORKSPACE else _find_commit(repo, name))
            if side.commit is None:
                files, place = DVCFileSystem(repo=repo), PurePosixPath()
            else:
                # The remote of the workspace: an old commit may know none, or one that is no more.
                remote = repo.config["core"].get("remote")
                files = DVCFileSystem(str(root), rev=side.commit, subrepos=bool(inside.parts), remote=remote)
                place = inside
            # A commit's has a repository of its own, with a database.
            opened_files.callback(files.close)
            opened.append(Revision(side, files, place, Path(folder, str(number))))
        yield opened[0], opened[1], repo


def _find_commit(repo: "Repo", name: str) -> str:
    """The commit of a revision or a DVC experiment.

    Raises:
        UsageError: there is none.
    """
    from dvc.exceptions import DvcException
    from dvc.scm import resolve_rev

    try:
        return str(resolve_rev(repo.scm, name))
    except DvcException:
        references = [str(each) for each in repo.scm.iter_refs()]
        # refs/heads/main, refs/remotes/origin/main, refs/exps/ab/cdef…/name
        known = ["HEAD", WORKSPACE, *dict.fromkeys(each.split("/", 2)[-1] for each in references)]
        known += [each.rpartition("/")[2] for each in references if each.startswith("refs/exps/")]
        raise UsageError(
            f"{name}: no commit, branch, tag or DVC experiment here (git log --oneline --all, dvc exp list)"
            + did_you_mean(name, known)
        ) from None


def compare_revisions(
    root: Path, first: str = "HEAD", second: str = WORKSPACE, experiments: Sequence[str] = ()
) -> Changes:
    """The differences between two revisions, experiment by experiment.

    Args:
        root: a checkout.
        first: a revision of git's, the name of a DVC experiment, or ``workspace``: what is compared with.
        second: likewise, what is judged.
        experiments: names; none for all that params.yaml lists on either side.

    Raises:
        UsageError: a revision or an experiment is unknown.
        PipelineError: there is no git repository or no commit.
    """
    with open_revisions(root, first, second) as (before, after, repo):
        return compare_opened(before, after, repo, experiments)


def compare_opened(before: Revision, after: Revision, repo: "Repo", asked: Sequence[str] = ()) -> Changes:
    """The same of revisions that `open_revisions` has opened."""
    names = choose_experiments(before, after, asked)
    found = [_compare(name, before, after) for name in names]
    return Changes(before.side, after.side, judge(found), tuple(find_notes(repo, (before, after), names)))


def choose_experiments(before: Revision, after: Revision, asked: Sequence[str]) -> list[str]:
    """The experiments asked for, else all of both revisions, in the order of params.yaml.

    Raises:
        UsageError: one of them is in neither.
    """
    known = list(dict.fromkeys((*after.experiments, *before.experiments)))
    for name in asked:
        if name not in known:
            raise UsageError(
                f"--experiment {shorten(name)}: neither {before.side.name} nor {after.side.name} lists it in"
                f" params.yaml; known: {', '.join(known)}{did_you_mean(name, known)}"
            )
    return [name for name in known if name in asked or not asked]


def _compare(name: str, before: Revision, after: Revision) -> ExperimentChange:
    for side, other in ((before, after), (after, before)):
        if name not in side.experiments:
            return ExperimentChange(name, reason=f"only {other.side.name} has it")
    try:
        return compare_versions(name, before.version(name), after.version(name))
    except PipelineError as error:
        return ExperimentChange(name, reason=str(error))


def find_notes(repo: "Repo", revisions: Sequence[Revision], names: Sequence[str]) -> list[str]:
    """What to know of both revisions: that data is missing, or that the workspace is not up to date.

    Args:
        repo: of the workspace.
        revisions: after all that is needed of them has been read.
        names: of the experiments that are compared.
    """
    notes = []
    for revision in revisions:
        name = revision.side.name
        if name == WORKSPACE:
            notes += _find_outdated(repo, [each for each in names if each in revision.experiments])
        if revision.lacks_data and name == WORKSPACE:
            notes.append(f"Outputs of the {WORKSPACE} are missing: dvc pull, or dvc repro evaluate")
        elif revision.lacks_data:
            notes.append(
                f"Outputs of {name} are missing: dvc fetch --all-commits, if a remote has them. Else make"
                f" them again: git worktree add ../again {name}, and there: dvc config --local cache.dir"
                f" {repo.cache.local_cache_dir} && dvc repro evaluate"
            )
    return notes


def _find_outdated(repo: "Repo", names: Sequence[str]) -> list[str]:
    """Say that outputs in the workspace are not of what is written there now."""
    from dvc.exceptions import DvcException

    try:
        existing = {stage.addressing for stage in repo.index.stages}
        targets = [stage for name in names for kind in _STAGES if (stage := f"{kind}@{name}") in existing]
        status = repo.status(targets=targets) if targets else {}
    except DvcException as error:
        return [f"Whether the {WORKSPACE} is up to date is not known: {shorten(str(error))}"]
    changed = {stage.partition("@")[2] for stage, entries in status.items() if _is_outdated(entries)}
    if not changed:
        return []
    shown = "all experiments" if changed == set(names) else ", ".join(filter(changed.__contains__, names))
    return [f"The {WORKSPACE} has changed since the outputs of {shown} were made: dvc repro"]


def _is_outdated(entries: Sequence[Any]) -> bool:
    """Whether DVC's status of a stage tells of more than files that have not been checked out."""
    absent = {"deleted", "not in cache"}
    return any(
        not isinstance(entry, dict)  # "changed command" and the like
        or any(
            isinstance(state, dict) or state not in absent
            for part in entry.values()
            for state in part.values()
        )
        for entry in entries
    )
