"""A reproducible data and training pipeline: DVC stages, Hydra configurations, a NumPy multilayer perceptron.

Importing the package fixes the numeric environment (see `pipeline.core.runtime`), so import it before NumPy.
"""

import contextlib
import sys

from pipeline.core import runtime
from pipeline.core.errors import ConfigError

__version__ = "0.1.0"

runtime.prepare_drawing()
# A program that imported NumPy first keeps its own environment; `runtime.doubts` then says what differs.
if "numpy" in sys.modules:
    runtime.inherit()
else:
    # The command line comes after this, and says in its own way that PIPELINE_RUNTIME names no tier.
    with contextlib.suppress(ConfigError):
        runtime.activate()
