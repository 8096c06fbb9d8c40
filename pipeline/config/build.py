"""Build any tree of dataclasses from plain YAML data, with every name and type checked."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from dataclasses import replace as dataclass_replace
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pipeline.config.checks import describe_value, require
from pipeline.core.errors import ConfigError

T = TypeVar("T")


def with_values(config: T, values: Mapping[str, Any]) -> T:
    """A dataclass with other values at dotted keys, checked again; what does not change is shared.

    Raises:
        ConfigError: a key is unknown or a value not allowed there.
    """
    return cast("T", _changed(config, type(config), values, "", type(config)))


def _changed(node: Any, hint: Any, values: Mapping[str, Any], prefix: str, root: type) -> Any:  # noqa: ANN401  (any value and type)
    """A value of a declared type with other values at keys below it."""
    if is_dataclass(node):
        hints = type_hints(type(node))
    elif isinstance(node, dict):
        hints = dict.fromkeys(node, (get_args(_bare(hint)) or (str, Any))[1])
    else:
        hints = {}
    by_name: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        name, _, rest = key.partition(".")
        if name not in hints:
            raise ConfigError(f"{prefix}{key}: no such key in the configuration")
        by_name.setdefault(name, {})[rest] = value
    changed = {}
    for name, below in by_name.items():
        place = f"{prefix}{name}"
        if "" in below:
            new = _converted(hints[name], below.pop(""), place, root)
        else:
            new = node[name] if isinstance(node, dict) else getattr(node, name)
        changed[name] = _changed(new, hints[name], below, f"{place}.", root) if below else new
    if isinstance(node, dict):
        return node | changed
    try:
        return dataclass_replace(node, **changed)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None


def type_hints(schema: Any) -> dict[str, Any]:  # noqa: ANN401  (any dataclass)
    """Field -> its declared type."""
    return _cached_hints(schema)


@functools.cache
def _cached_hints(schema: type) -> dict[str, Any]:
    return get_type_hints(schema, include_extras=True)


def is_union(hint: object) -> bool:
    """Whether a declared type is a union: in a schema with None, or of one thing and a list of such."""
    return get_origin(hint) in {Union, UnionType}


def is_optional(hint: object) -> bool:
    """Whether a declared type is a union with None."""
    return is_union(hint) and type(None) in get_args(hint)


def _bare(hint: Any) -> Any:  # noqa: ANN401  (a type, of which there are several kinds)
    """A declared type without its None or its list, and without what is allowed of it."""
    while is_union(hint) or get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def build(schema: type[T], given: object, path: str = "", root: type | None = None) -> T:
    """An instance of a dataclass from plain YAML data, every name and type checked, nested ones included.

    Args:
        schema: the dataclass.
        given: the data.
        path: dotted keys that lead to it, for messages.
        root: the dataclass of the whole configuration, whose keys a message may suggest.

    Raises:
        ConfigError: a key is unknown or missing, or a value not allowed; the message has the full key.
    """
    root = root or schema
    if not isinstance(given, dict):
        raise ConfigError(f"{path or 'the configuration'}={describe_value(given)}: expected a mapping")
    prefix = f"{path}." if path else ""
    hints = type_hints(schema)
    unknown = [key for key in given if key not in hints]
    if unknown:
        raise ConfigError(explain_unknown_key(root, f"{prefix}{describe_value(unknown[0])}", list(hints)))
    values = {key: _converted(hints[key], value, f"{prefix}{key}", root) for key, value in given.items()}
    needed = {
        item.name for item in fields(cast("Any", schema)) if item.default is item.default_factory is MISSING
    }
    missing = sorted(needed - set(values))
    if missing:
        raise ConfigError(f"{prefix}{missing[0]}: a value is needed and none is given")
    try:
        return schema(**values)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None


def _converted(hint: Any, value: Any, path: str, root: type) -> Any:  # noqa: ANN401, PLR0911  (one line per kind of type)
    """A plain value as the type that a dataclass declares for it."""
    if is_optional(hint):
        return None if value is None else _converted(get_args(hint)[0], value, path, root)
    if is_union(hint):
        one, several = get_args(hint)
        return _converted(several if isinstance(value, list) else one, value, path, root)
    if get_origin(hint) is Annotated:
        kind, allowed = get_args(hint)
        converted = _converted(kind, value, path, root)
        require(allowed.test(converted), path, converted, allowed.words)
        return converted
    if is_dataclass(hint):
        return build(cast("type[Any]", hint), value, path, root)
    if get_origin(hint) is list and isinstance(value, list):
        return [
            _converted(get_args(hint)[0], item, f"{path}[{index}]", root) for index, item in enumerate(value)
        ]
    if get_origin(hint) is dict and isinstance(value, dict):
        return {
            str(key): _converted(get_args(hint)[1], item, f"{path}.{describe_value(key)}", root)
            for key, item in value.items()
        }
    if hint is Any or (hint is bool and isinstance(value, bool)):
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
    # A line break would spoil a title, and ${ is where YAML of ours would be read as a reference.
    in_order = not isinstance(value, str) or (value.isprintable() and "${" not in value)
    if isinstance(hint, type) and isinstance(value, hint) and not isinstance(value, bool) and in_order:
        return value
    raise ConfigError(f"{path}={describe_value(value)}: expected {_KINDS[get_origin(hint) or hint]}")


_KINDS: Final[Mapping[Any, str]] = {
    int: "a whole number",
    float: "a number",
    str: "text (in one line, without ${)",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def explain_unknown_key(root: type, key: str, siblings: Sequence[str], prefix: str = "") -> str:
    """What to say about a dotted key, shown after `prefix`; `siblings` can stand in its last part's place."""
    folder, _, last = key.rpartition(".")
    if key == "experiment":
        return "experiment: no such key; a file in conf/experiment begins with # @package _global_"
    if last in siblings:
        return f"{prefix}{key}: the choice made for {key.split('.', maxsplit=1)[0]} has no such key"
    known = list(_schema_keys(root, ""))
    close = [f"{folder}.{name}".strip(".") for name in get_close_matches(last, siblings, n=1, cutoff=0.8)]
    # Or the slip is further to the left, or the left part is forgotten.
    close += [] if siblings else get_close_matches(key, known, n=1, cutoff=0.8)
    close += [name for name in known if name.endswith(f".{key}")]
    return f"{prefix}{key}: no such key; " + (
        f"did you mean {prefix}{close[0]}?" if close else f"known: {', '.join(siblings)}"
    )


def fields_at(root: type, folder: str) -> list[str]:
    """The names that `root` has below a dotted key, which may be empty; none below a single value."""
    hint = type_at(root, folder) if folder else root
    return list(type_hints(hint)) if is_dataclass(hint) else []


def type_at(root: type, key: str) -> Any:  # noqa: ANN401  (a type, of which there are several kinds)
    """The type that `root` declares for a dotted key, without its None; None where there is no such key."""
    hint: Any = root
    for name in key.split("."):
        if get_origin(hint) is dict:
            hint = get_args(hint)[1]
        else:
            hint = type_hints(hint).get(name) if is_dataclass(hint) else None
        hint = _bare(hint)
    return hint


def _schema_keys(schema: Any, prefix: str) -> Iterator[str]:  # noqa: ANN401  (any dataclass)
    for key, hint in type_hints(schema).items():
        yield f"{prefix}{key}"
        if is_dataclass(hint):
            yield from _schema_keys(hint, f"{prefix}{key}.")
