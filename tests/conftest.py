"""Fixtures for all tests. Importing `pipeline` here fixes the numeric environment before NumPy is loaded."""

import pipeline  # noqa: F401  (see above: it has to come first)
