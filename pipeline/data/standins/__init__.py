"""The bundled data sets, drawn by code: what the pipeline runs on without a network.

Their checksums stand in conf/, so a drawing has the same bytes on every machine, whatever its processor and
library versions. Hence the drawing code uses only

- `RandomState`, whose streams NumPy keeps frozen, and of it only what needs no logarithm or square root;
- elementwise + - * /, square root, rounding and comparison, which IEEE 754 defines to the last bit; sines and
  powers, whose last bit depends on the machine's library, are replaced by parabolas, rational points of the
  circle and products;
- sums only where every partial sum is exact, for NumPy adds in an order that depends on the processor; no
  BLAS.
"""

from collections.abc import Callable
from typing import Final

from pipeline.data.standins.digits import draw_digits
from pipeline.data.standins.drawing import Drawing
from pipeline.data.standins.scenes import draw_scenes

__all__ = ["DRAWINGS", "Drawing", "draw_digits", "draw_scenes"]

DRAWINGS: Final[dict[str, Callable[[], Drawing]]] = {"digits": draw_digits, "scenes": draw_scenes}
"""The bundled data sets by name; each function draws its set at full size."""
