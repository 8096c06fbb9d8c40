"""A small slice of what benchmarks/fuzz.py does for as long as it is asked to."""

from pathlib import Path

import pytest

from benchmarks import fuzz

TARGETS = fuzz.targets()


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files_end_in_a_value_or_one_line(name: str, tmp_path: Path) -> None:
    count = 40 if name == "cifar" else 250
    tally = fuzz.run(name, TARGETS[name], range(count), seed=1, folder=tmp_path)
    assert tally.findings == {}
    assert tally.inputs == tally.accepted + tally.refused == count
    # Changes that all get through, or none, would look for nothing.
    assert tally.accepted > 0
    assert tally.refused > tally.accepted
