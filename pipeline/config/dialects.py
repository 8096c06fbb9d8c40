"""YAML that its two readers understand alike: DVC reads it as version 1.2, Hydra and OmegaConf as 1.1.

DVC compares and shows what it reads, while a stage runs with what OmegaConf reads. A number that one of them
takes for another, or a key that only one takes for text, would be wrong in silence. So they are refused.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from pipeline.core.conflicts import refuse_conflicts_in
from pipeline.core.errors import ConfigError

_VALUES: Final = (
    (
        re.compile(r"[-+]?0(o[0-7_]+|[0-9_]+)"),
        "is octal to one reader and not to another: leave out the leading zero",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"),
        "is a number in base 60 to Hydra and text to DVC: write the number, or quote it",
    ),
    (re.compile(r"yes|no|on|off", re.IGNORECASE), "is text to DVC: write true or false, or quote it"),
)
"""Values that the readers take for different things, and what to say of them."""

# What no reader, or only one, takes for text.
_NO_TEXT: Final = re.compile(
    r"|~|null|true|false|yes|no|on|off"
    r"|[-+]?(0[box][0-9a-f_]+|[0-9_]*\.?[0-9_]+(e[-+]?[0-9]+)?|[0-9_]+\.|\.inf|[0-9_]+(:[0-9]+)+(\.[0-9_]*)?)"
    r"|\.nan|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*",
    re.IGNORECASE,
)


_MOST_BYTES: Final = 2**20
_MOST_VALUES: Final = 20_000
_MOST_LEVELS: Final = 50


def check_folder(conf: Path) -> None:
    """Check each YAML file below a folder.

    Raises:
        ConfigError: as `check_file`.
    """
    for path in sorted(conf.rglob("*.yaml")):
        check_file(path)


def check_file(path: Path) -> None:
    """See that a YAML file says the same to DVC and to Hydra. One that is no YAML is left to its reader.

    Aliases count as what they stand for, as both write it out: a few lines of them can be billions of values.

    Raises:
        ConfigError: the file, the key and what to write instead, in one line; or it has conflict markers.
    """
    refuse_conflicts_in(path)
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise ConfigError(f"{path}: expected at most {_MOST_BYTES:,} bytes, found {size:,}")
        root = yaml.compose(path.read_bytes(), Loader=yaml.CSafeLoader)
        values, _ = _measure(root, 0, {})
    except RecursionError:
        raise ConfigError(
            f"{path}: expected at most {_MOST_LEVELS} levels, found more, or an alias inside its value"
        ) from None
    except (OSError, yaml.YAMLError, ValueError):
        return
    if values > _MOST_VALUES:
        raise ConfigError(
            f"{path}: expected at most {_MOST_VALUES:,} values, found {values:,} with aliases written out"
        )
    for key, complaint in _complaints(root, "", set()):
        raise ConfigError(f"{path}: {key}: {complaint}")


def _complaints(node: yaml.Node | None, place: str, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Dotted keys below a node, and what is wrong there. `seen`: nodes that aliases would lead to again."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            text = key.value if isinstance(key, yaml.ScalarNode) else "?"
            name = f"{place}.{text}" if place else text
            if text == "?" or (_is_plain(key) and _NO_TEXT.fullmatch(text)):
                yield name, f"DVC does not read this key as text: quote it: '{text}'"
            yield from _complaints(value, name, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _complaints(item, f"{place}[{index}]", seen)
    elif _is_plain(node):
        yield from ((place, f"{node.value} {found}") for form, found in _VALUES if form.fullmatch(node.value))


def _measure(node: yaml.Node | None, level: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The values at and below a node, aliases written out, and the levels. `known`: nodes measured.

    Raises:
        RecursionError: more than `_MOST_LEVELS` levels, or a node inside of itself.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1, 1
    if id(node) not in known:
        if level == _MOST_LEVELS:
            raise RecursionError
        pairs = isinstance(node, yaml.MappingNode)
        below = [each for pair in node.value for each in pair] if pairs else node.value
        measures = [_measure(each, level + 1, known) for each in below]
        known[id(node)] = (
            1 + sum(values for values, _ in measures),
            1 + max((levels for _, levels in measures), default=0),
        )
    if known[id(node)][1] > _MOST_LEVELS:
        raise RecursionError
    return known[id(node)]


def _is_plain(node: yaml.Node) -> bool:
    """Whether a reader has to find out what a scalar is, by its form or by its tag."""
    return isinstance(node, yaml.ScalarNode) and (not node.style or node.tag != "tag:yaml.org,2002:str")
