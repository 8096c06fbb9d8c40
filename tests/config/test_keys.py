"""Which keys a search may vary."""

import pytest

from pipeline.config.keys import check_search_key
from pipeline.core.errors import ConfigError


@pytest.mark.parametrize("key", ["seed", "model", "model.hidden", "training.early_stopping.patience"])
def test_a_key_that_training_uses_may_be_varied(key: str) -> None:
    check_search_key(key)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("dataset.name", "search.space.dataset.name: dataset is the same for all trials"),
        ("runtime", "search.space.runtime: runtime is the same for all trials"),
        ("modle", "search.space.modle: no such key; did you mean search.space.model?"),
        ("model.hiden", "search.space.model.hiden: no such key; did you mean search.space.model.hidden?"),
        ("hidden", "search.space.hidden: no such key; did you mean search.space.model.hidden?"),
        (
            "model.zzz",
            (
                "search.space.model.zzz: no such key; known: hidden, activation, batch_normalization,"
                " dropout, input_dropout"
            ),
        ),
        ("seed.x", "search.space.seed.x: no such key; did you mean search.space.seed?"),
    ],
)
def test_any_other_is_told(key: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_search_key(key)
    assert str(caught.value) == said
