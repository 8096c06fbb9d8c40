"""Imports matplotlib with the settings that it brings along, whatever a settings file of the user says.

matplotlib reads the first matplotlibrc that it finds as it is imported, at first in the working directory,
and one that it cannot read ends the program. So it is imported in the folder of its own. Import this module
before any other of matplotlib's.
"""

import contextlib
import importlib.util
from pathlib import Path
from typing import Any, Final

_FOUND = importlib.util.find_spec("matplotlib")
_DATA: Final = Path(_FOUND.origin).with_name("mpl-data") if _FOUND and _FOUND.origin else Path.cwd()

with contextlib.chdir(_DATA):
    import matplotlib as mpl

DEFAULTS: Final[dict[str, Any]] = {
    name: value for name, value in dict.items(mpl.rcParamsDefault) if name != "backend"
}
"""What every setting is without a settings file; the backend aside, which is chosen by the canvas."""
