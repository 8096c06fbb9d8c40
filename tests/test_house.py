"""The folders of the package: each has one duty, and imports run downward only."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.shared import imports_of

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pipeline"
# From the top of the house to its ground.
FOLDERS = ("commands", "stages", "repro", "report", "data", "search", "nn", "config", "core")
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def test_every_folder_is_listed() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(FOLDERS)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.relative_to(PACKAGE).as_posix()) for path in MODULES]
)
def test_imports_run_downward(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0]
    if own == "__main__.py":
        return
    # The package itself stands on the ground: whoever imports anything imports it first.
    level = FOLDERS.index("core" if own == "__init__.py" else own)
    upward = sorted(name for name in imports_of(path) if FOLDERS.index(name.split(".")[1]) < level)
    assert not upward, f"{path.relative_to(ROOT)} imports {upward[0]}, which stands above it"


def test_modules_import_each_other_in_no_circle() -> None:
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in MODULES
    }
    # What only a function imports is loaded later.
    below = {
        name: {
            other
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ImportFrom) and node.module
            for other in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
            if other in names and not name.startswith(f"{other}.")
        }
        for name, path in names.items()
    }
    # Raises CycleError, which names the circle.
    tuple(TopologicalSorter(below).static_order())


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_readme_tells_the_duty_of_a_folder_in_the_folders_own_words(folder: str) -> None:
    docstring = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text()))
    assert docstring is not None
    duty = docstring.splitlines()[0].removesuffix(".").lower()
    (told,) = re.findall(rf"^  {folder}/ +(.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert told.lower() == duty


# Why these are longer than the 400 lines that a reader takes in at a time.
LONG = {
    "pipeline/config/schema.py": "one list of every key, its type and its range",
    "pipeline/core/files/pickle_reader.py": "one machine: its opcodes make no sense apart",
    "pipeline/data/formats/cifar.py": "one archive in two versions, read and written",
    "pipeline/data/standins/scenes.py": "one drawing, whose parts share their random stream",
    "pipeline/report/plots/searches.py": "three views of the same trials on the same axes",
}


def test_long_files_have_a_reason() -> None:
    long = {path.relative_to(ROOT).as_posix() for path in MODULES if len(path.read_text().splitlines()) > 400}
    assert long == set(LONG)
