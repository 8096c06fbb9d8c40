"""source: select bundled, official or local data in params.yaml, leaving the rest of the file unchanged."""

import argparse
import re

from pipeline.config.schema import SOURCES
from pipeline.core.errors import ConfigError
from pipeline.core.paths import Layout
from pipeline.core.progress import say

_LINE = re.compile(r"^source:[ \t]*\S+", re.MULTILINE)


EXAMPLE = "source official"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", choices=SOURCES)


def run(layout: Layout, options: argparse.Namespace) -> None:
    """Put ``source: NAME`` into params.yaml.

    Raises:
        ConfigError: params.yaml has no line for it.
    """
    from pipeline.core.files.atomic import read_bytes, write_text  # not for --help
    from pipeline.core.files.tables import MAXIMUM_TEXT_BYTES

    text = read_bytes(layout.params, maximum_bytes=MAXIMUM_TEXT_BYTES).decode("utf-8")
    changed, count = _LINE.subn(f"source: {options.name}", text)
    if count != 1:
        raise ConfigError(f"{layout.params}: expected one line `source: NAME`, found {count}")
    if changed != text:
        write_text(layout.params, changed)
        say(f"params.yaml: source is now {options.name} (git checkout params.yaml puts it back)")
