"""train: search where the configuration asks for it, then train, and save parameters and history.

Here are also the resume state of an interrupted stage, and what the workers of a search have to be.
"""

from pipeline.stages.train.stage import inputs, run

__all__ = ["inputs", "run"]
