"""The text of dvc.lock, stage by stage: reading all of its YAML would take half a second."""

import re


def split_stages(lock: str) -> tuple[str, dict[str, str]]:
    """What stands before the stages, and the lines of each stage by its name, in the file's order."""
    head, title, body = lock.partition("stages:\n")
    blocks = [block for block in re.split(r"(?m)^(?=  \S)", body) if block]
    return head + title, {block.partition("\n")[0].strip(" :'\""): block for block in blocks}
