"""The train stage: search where the configuration asks for it, then train; resume state and workers."""

from pipeline.stages.train.stage import inputs, run

__all__ = ["inputs", "run"]
