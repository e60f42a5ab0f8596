"""A figure as a picture in a widget: one figure, drawn again and again, sent as PNG.

A picture works wherever widgets do (JupyterLab, Voilà) and needs no browser extension. What is seen is what
can be tested.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import ipywidgets as widgets
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Plots have few colours: a palette halves what goes to the browser.
_COLOURS = 128


class Picture(widgets.Image):
    """A picture of constant shape.

    Parameters
    ----------
    width_in, height_in : float
        Of the figure. At 96 pixels per inch its text is about as large as that of the page.
    dpi : int
        Of the PNG.
    """

    def __init__(self, width_in: float, height_in: float, dpi: int = 125) -> None:
        super().__init__(format="png")
        self.layout = widgets.Layout(width="100%", max_width=f"{int(width_in * 125)}px", flex="0 0 auto")
        self.figure = Figure(figsize=(width_in, height_in), dpi=dpi)
        self._canvas = FigureCanvasAgg(self.figure)
        self._lock = threading.Lock()

    def draw(self, paint: Callable[[Figure], object]) -> None:
        """Let `paint` change the figure, and show it. May be called from any thread."""
        with self._lock:
            paint(self.figure)
            self._canvas.draw()
            pixels = Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB")
        pixels = pixels.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        target = io.BytesIO()
        pixels.save(target, "png", compress_level=3)
        self.value = target.getvalue()
