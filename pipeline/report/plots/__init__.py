"""Pictures of a run: each function returns a Figure, and `style` turns it into bytes.

Every function takes a `title` (which experiment) and a `subtitle` (which source); both are wrapped to the
picture's width. Arrays that do not fit together are a mistake of the calling code: ValueError.
"""

import pipeline.report.plots.settings  # noqa: F401  (before any other module imports matplotlib)
