"""Fixtures for all tests. Importing `pipeline` here fixes the numeric environment before NumPy is loaded."""

from hypothesis import settings

import pipeline  # noqa: F401  (see above: before NumPy)

# The same examples in every run, and no clock: these machines are shared.
settings.register_profile("pipeline", derandomize=True, deadline=None)
settings.load_profile("pipeline")
