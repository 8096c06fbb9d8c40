"""Hydra's, OmegaConf's and YAML's complaints in one line, in the words of this project's own messages."""

import re
from typing import get_origin

from pipeline.config.build import explain_unknown_key, fields_at, type_at
from pipeline.core.descriptions import shorten
from pipeline.core.errors import ConfigError
from pipeline.core.registry import did_you_mean


def explain(error: Exception, root: type) -> str:  # noqa: PLR0911  (one per kind of message)
    """Hydra's, OmegaConf's or a YAML parser's message in one line, in the words of the messages here.

    `root` is the dataclass of the whole configuration.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    first = lines[0]
    # A key is whatever its author wrote, a line break included.
    key = shorten(str(getattr(error, "full_key", None) or ""))
    if (refusal := _refusal(error)) is not None:
        place = next((line.split()[1] for line in lines if re.match(r"full_key: \S", line)), "")
        return f"{place}: {refusal}" if place else str(refusal)
    if (override := getattr(error, "override", None)) is not None:
        return f"'{shorten(override)}': expected KEY=VALUE, such as optimizer.learning_rate=0.2 ({first})"
    if found := re.match(r"Could not override '([^']+)'\.$", first):
        return explain_unknown_key(root, found[1], fields_at(root, found[1].rpartition(".")[0]))
    if found := re.match(r"In '[^']*': Could not find '(.+)/([^/']+)'", first):
        options = [line for line in lines[1:] if re.fullmatch(r"[\w.-]+", line)]
        return f"{found[1]}={found[2]}: no such choice; one of {', '.join(options) or 'none'}" + did_you_mean(
            found[2], options
        )
    if found := re.match(r"Ambiguous value for argument '(.+)'|Sweep parameters '(.+)' requires", first):
        return _explain_several_values((found[1] or found[2]).lstrip("+"), root)
    if found := re.match(r"Missing mandatory value: (\S+)", first):
        return f"{key or found[1]}: a value is needed and none is given"
    if hasattr(error, "problem_mark"):
        return in_one_line(error)
    return f"{key}: {first}" if key and key not in first else first


def _explain_several_values(override: str, root: type) -> str:
    """What to say where commas stand outside brackets, which Hydra takes for several runs."""
    key, _, value = override.partition("=")
    is_axis = key.startswith("search.space.")
    # Several lists may be meant for several runs; an axis is a list of whatever stands there.
    is_list = get_origin(type_at(root, key)) is list and not value.startswith("[")
    if is_axis or is_list:
        return f"{override}: several values: write a list: '{key}=[{value}]'"
    return f"{override}: several values: add -m for a run with each, or quote them"


def _refusal(error: BaseException | None) -> ConfigError | None:
    """Our own complaint, raised where OmegaConf resolved a reference, out of the errors made of it."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__ or error.__context__
    return error


def in_one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())
