"""A reproducible data and training pipeline: DVC stages, Hydra configurations, a NumPy multilayer perceptron.

Importing the package fixes the numeric environment (see `pipeline.core.runtime`), so import it before NumPy.
"""

from pipeline.core import runtime

__version__ = "0.1.0"

runtime.set_up()
