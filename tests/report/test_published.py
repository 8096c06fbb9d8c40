"""The table of results: on which tier a figure came about, and figures over several seeds."""

from dataclasses import replace

import pytest

from pipeline.config.schema import Config, Runtime
from pipeline.report import published


@pytest.mark.parametrize("tier", ["portable", "avx512", "native"])
def test_a_run_on_another_tier_says_so(configs: dict[str, Config], tier: str) -> None:
    config = replace(configs["tiny"], runtime=Runtime(tier))
    summary = published.summarize(config, {"test": {"accuracy": 0.5}}, [2.0, 1.0])
    table = list(published.rows(summary))
    assert [row["runtime"] for row in published.as_json(table, [summary])["rows"]] == [tier]
    text = published.as_markdown(table, [summary])
    assert ("runtime" in text) == (tier != "portable")
    if tier != "portable":
        assert f"| {config.title}, runtime {tier} |" in text


def test_mean_and_deviation_over_seeds(configs: dict[str, Config]) -> None:
    """By hand: 0.1, 0.2 and 0.6 have the mean 0.3 and the variance (0.04 + 0.01 + 0.09) / 2."""
    summary = published.summarize(configs["tiny"], {"test": {"accuracy": 0.1}}, [1.0])
    (row,) = published.rows(summary, [{"test_accuracy": value} for value in (0.2, 0.6)])
    assert row.ours == pytest.approx(0.3, abs=1e-15)
    assert row.deviation == pytest.approx(0.07**0.5, abs=1e-15)
    assert row.seeds == 3
