"""The lock files are closed: what any package asks for is pinned, so that nothing is resolved anew."""

import importlib.metadata
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
# Each lock file and the extras that it is made for.
LOCKS = {
    "requirements.lock": (),
    "requirements-dev.lock": ("dev",),
    "requirements-service.lock": ("dev", "s3", "dask", "optuna", "parquet", "ray", "service"),
}
every_lock = pytest.mark.parametrize(
    "lock",
    [
        "requirements.lock",
        "requirements-dev.lock",
        pytest.param("requirements-service.lock", marks=pytest.mark.service),
    ],
)


def pins(lock: Path) -> list[Requirement]:
    """What a lock file pins, for any interpreter and system."""
    lines = re.sub(r"\\\n", " ", lock.read_text()).splitlines()
    return [Requirement(line.partition(" --hash")[0]) for line in lines if line and not line.startswith("#")]


def applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    """Whether a requirement holds here, of a package that was asked for with these extras."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**default_environment(), "extra": extra}) for extra in ("", *extras)
    )


def open_ends(
    roots: Iterable[str], pinned: Iterable[Requirement], required: Callable[[str], Iterable[str]]
) -> list[str]:
    """What is asked for, by `roots` or by a pinned package, and not pinned.

    Args:
        roots: requirements to begin with.
        pinned: what a lock file pins.
        required: gives what an installed package of this name asks for.
    """
    here = {canonicalize_name(pin.name): pin for pin in pinned if applies(pin, ())}
    asked = [("pyproject.toml", text, frozenset[str]()) for text in roots]
    asked += [(name, text, frozenset(pin.extras)) for name, pin in here.items() for text in required(name)]
    found = []
    for name, text, extras in asked:
        requirement = Requirement(text)
        if not applies(requirement, extras):
            continue
        pin = here.get(canonicalize_name(requirement.name))
        version = next(iter(pin.specifier)).version if pin else ""
        if not requirement.specifier.contains(version or "0", prereleases=True) or pin is None:
            found.append(f"{name} asks for {text}, pinned is {version or 'nothing'}")
        elif missing := requirement.extras - pin.extras:
            found.append(f"{name} asks for {text}, pinned is {pin} without {', '.join(sorted(missing))}")
    return found


def installed(name: str) -> Iterable[str]:
    """What an installed package asks for."""
    return importlib.metadata.requires(name) or ()


@every_lock
def test_nothing_is_asked_for_that_is_not_pinned(lock: str) -> None:
    roots = [*PROJECT["project"]["dependencies"], *(text for extra in LOCKS[lock] for text in EXTRAS[extra])]
    assert open_ends(roots, pins(ROOT / lock), installed) == []


@every_lock
def test_what_is_installed_is_what_is_pinned(lock: str) -> None:
    here = [pin for pin in pins(ROOT / lock) if applies(pin, ())]
    found = {pin.name: importlib.metadata.version(pin.name) for pin in here}
    assert [str(pin) for pin in here if found[pin.name] not in pin.specifier] == []


@pytest.mark.parametrize(
    ("roots", "lines", "complaint"),
    [
        (["a"], ["a==1", "b[x]==2"], []),
        (["a"], ["a==1", "b==2"], ["a asks for b[x]>=2, pinned is b==2 without x"]),
        (["a"], ["a==1"], ["a asks for b[x]>=2, pinned is nothing"]),
        (["a"], ["a==1", "b[x]==1.9"], ["a asks for b[x]>=2, pinned is 1.9"]),
        (["a"], ["a==1", "b[x]==2; python_version < '3'"], ["a asks for b[x]>=2, pinned is nothing"]),
        (["a[y]"], ["a==1", "b[x]==2"], ["pyproject.toml asks for a[y], pinned is a==1 without y"]),
        (["a[y]"], ["a[y]==1", "b[x]==2"], ["a asks for c; extra == 'y', pinned is nothing"]),
        (["c"], [], ["pyproject.toml asks for c, pinned is nothing"]),
    ],
)
def test_an_open_lock_is_found(roots: list[str], lines: list[str], complaint: list[str]) -> None:
    asks: Mapping[str, list[str]] = {"a": ["b[x]>=2", "c; extra == 'y'", "c; python_version < '3'"]}
    pinned = [Requirement(line) for line in lines]
    assert open_ends(roots, pinned, lambda name: asks.get(name, [])) == complaint


def test_the_locks_agree() -> None:
    """What several pin has one version in all; the larger ones pin all that the smaller do."""
    smaller, middle, larger = (
        {(pin.name, str(pin.specifier), str(pin.marker)) for pin in pins(ROOT / lock)} for lock in LOCKS
    )
    assert smaller < middle < larger


def test_every_pin_has_hashes_and_no_address() -> None:
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert {"requirements-build.lock", *LOCKS} == {lock.name for lock in locks}
    for lock in locks:
        text = lock.read_text()
        assert "://" not in text, lock
        entries = re.sub(r"\\\n", " ", text).splitlines()
        assert all("--hash=sha256:" in line for line in entries if line and not line.startswith("#")), lock


def test_the_build_lock_pins_what_installs_and_builds() -> None:
    wanted = [Requirement(text) for text in PROJECT["dependency-groups"]["build"]]
    found = {pin.name: next(iter(pin.specifier)).version for pin in pins(ROOT / "requirements-build.lock")}
    assert all(found[each.name] in each.specifier for each in wanted)
    assert {Requirement(text).name for text in PROJECT["build-system"]["requires"]} <= set(found)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("uv"), reason="uv is not on the PATH")
def test_uv_makes_the_environment_that_pip_makes(tmp_path: Path) -> None:
    frozen = []
    for uv in (shutil.which("uv"), ""):
        folder = tmp_path / ("uv" if uv else "pip")
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S607
        for name in filter(None, tracked.decode().split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        subprocess.run(["make", "setup", f"UV={uv}"], cwd=folder, check=True)  # noqa: S603, S607
        freeze = [".venv/bin/python", "-m", "pip", "freeze"]
        frozen.append(subprocess.run(freeze, cwd=folder, capture_output=True, text=True, check=True).stdout)  # noqa: S603
    assert frozen[0] == frozen[1]


@pytest.mark.parametrize("is_sound", [False, True])
def test_a_killed_set_up_leaves_nothing_that_the_next_one_runs(tmp_path: Path, *, is_sound: bool) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements-build.lock", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    if is_sound:
        # As it is where a lock has changed: it is kept until another Python is known to run.
        (programs / "python").symlink_to(shutil.which("true") or "")
    else:
        # As it was found: the environment's own Python had been asked to make the environment anew.
        (programs / "python3").symlink_to(programs / "python3")
        (programs / "python").symlink_to("python3")
    ended = subprocess.run(["make", "setup", "PYTHON=false"], cwd=tmp_path, capture_output=True, text=True)  # noqa: S607, PLW1510  (it fails)
    assert "false does not run; name another" in ended.stderr
    assert programs.exists() == is_sound
