"""The workflow of pull requests: what it calls, and that this works on any machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = load_yaml(str(ROOT / ".github" / "workflows" / "pull-request.yml"))
(JOB,) = WORKFLOW["jobs"].values()

# Says how it was called; pipeline draws and gh reads, as they do.
PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >> calls
case "$0" in
  */pipeline) echo "| what | differs |"; for last; do :; done; echo picture > "$last" ;;
  */gh) cat > sent ;;
esac
"""


def test_its_commands_are_make_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [step["run"] for step in JOB["steps"] if "run" in step]
    assert commands == ["make test", "make changes", "make comment"]
    assert {command.removeprefix("make ") for command in commands} <= targets
    # The merge's first parent: the base that the event names may be older than what is checked out.
    assert [step["env"]["BASE"] for step in JOB["steps"] if step.get("run") == "make changes"] == ["HEAD~1"]


def test_its_actions_have_versions_and_it_may_do_little() -> None:
    used = [step["uses"] for step in JOB["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", each) for each in used)
    assert WORKFLOW["permissions"] == {}
    assert JOB["permissions"] == {"contents": "read", "pull-requests": "write"}
    # What a pull request brings along reaches no shell: values come by the environment.
    assert not any("${{" in step.get("run", "") for step in JOB["steps"])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile, and dvc, pipeline and gh that only tell of it."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-build.lock"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("dvc", "pipeline", "gh"):
        (programs / name).write_text(PROGRAM)
        (programs / name).chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()
    return tmp_path


def make(checkout: Path, target: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  (make)
        ["make", "--no-print-directory", target],  # noqa: S607  (the same; a make that runs the tests would have it say so)
        cwd=checkout,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_differences_become_a_comment(checkout: Path) -> None:
    ended = make(checkout, "changes", BASE="abc")
    assert (ended.returncode, ended.stdout) == (0, "| what | differs |\n"), ended.stderr
    assert (checkout / "runs" / "changes" / "differences.png").is_file()
    ended = make(checkout, "comment", PULL_REQUEST="12", PICTURES="https://example.org/1")
    assert ended.returncode == 0, ended.stderr
    assert (checkout / "sent").read_text() == ("| what | differs |\n\n[Pictures](https://example.org/1)\n")
    assert (checkout / "calls").read_text().splitlines() == [
        "dvc repro",
        "pipeline diff abc --markdown --picture runs/changes/differences.png",
        "gh pr comment 12 --edit-last --create-if-none --body-file -",
    ]


def test_what_is_compared_with_and_written_to_where_nothing_is_given(
    checkout: Path,
) -> None:
    assert make(checkout, "changes", BASE="").returncode == 0
    assert "pipeline diff HEAD --markdown" in (checkout / "calls").read_text()
    ended = make(checkout, "comment", PULL_REQUEST="")
    assert ended.returncode != 0
    assert "to which? make comment PULL_REQUEST=12" in ended.stderr
    assert not (checkout / "sent").exists()
