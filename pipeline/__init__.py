"""A reproducible data and training pipeline: DVC stages, Hydra configurations, a NumPy multilayer perceptron.

Importing the package fixes the numeric environment (see `pipeline.runtime`), so import it before NumPy.
"""

import sys

from pipeline import runtime

__version__ = "0.1.0"

# A program that imported NumPy first keeps its own environment; `runtime.doubts` then says what differs.
if "numpy" not in sys.modules:
    runtime.activate()
