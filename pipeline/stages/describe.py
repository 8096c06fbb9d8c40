"""describe: note the checksums of a data set's own files in conf/dataset/DATASET.yaml.

Like compose, it is how DVC sees what has changed: it depends on the files, and fetch on what it writes.
"""

import re
from pathlib import Path

from pipeline.core.errors import ConfigError
from pipeline.core.files.atomic import read_bytes, write_text
from pipeline.core.files.tables import MAXIMUM_TEXT_BYTES
from pipeline.core.progress import say
from pipeline.data import local
from pipeline.stages.shared.context import DatasetContext


def inputs(context: DatasetContext) -> list[Path]:
    """What the stage reads."""
    return [local.find_place(context.layout.root, context.dataset.name)]


def run(context: DatasetContext) -> None:
    """Put the checksums of the files as they are into the definition, and leave the rest of it as it is.

    Raises:
        ConfigError: the source is not local, or the definition is written in a way that cannot be edited.
        PipelineError: a file is missing or cannot be read.
    """
    name, source = context.dataset.name, context.dataset.source(context.source)
    definition = context.layout.conf / "dataset" / f"{name}.yaml"
    if not source.local:
        raise ConfigError(
            f"{definition}: source={context.source} is not local: its checksums are its publisher's"
        )
    (place,) = inputs(context)
    before = text = read_bytes(definition, maximum_bytes=MAXIMUM_TEXT_BYTES).decode("utf-8")
    for file in source.all_files:
        found = local.checksum(local.find_origin(place, file.name))
        if found != file.checksum[1]:
            text = _with_checksum(text, file.name, found, definition)
            say(f"{file.name}: has changed")
    if text != before:
        write_text(definition, text)


def _with_checksum(text: str, name: str, checksum: str, definition: Path) -> str:
    pattern = re.compile(rf"(name:\s*['\"]?{re.escape(name)}['\"]?,?\s+sha256:\s*['\"]?)[0-9a-f]{{64}}\b")
    changed, count = pattern.subn(rf"\g<1>{checksum}", text)
    if not count:
        raise ConfigError(
            f"{definition}: expected `name: {name}` with `sha256: …` behind it, and neither bytes nor md5;"
            " write it so, for its checksum has changed"
        )
    return changed
