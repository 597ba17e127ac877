"""Figures of several libraries to files. None of them is imported here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from dsml.step import formats

_PICTURES = ("savefig", "save", "__array__")  # matplotlib, PIL, pixels


def is_plotly(figure: Any) -> bool:
    """Whether it is a figure of plotly."""
    return hasattr(figure, "write_html") and hasattr(figure, "to_plotly_json")


def save_picture(name: str, figure: Any, file: Path) -> None:
    """Write a figure as PNG.

    Raises:
        TypeError: it is no figure, no image and no array of pixels.
    """
    if not hasattr(figure, "savefig") and hasattr(figure, "get_figure"):
        figure = figure.get_figure()  # of matplotlib's axes, as pandas returns them from ``plot``
    if not any(hasattr(figure, method) for method in _PICTURES):
        kind = type(figure).__name__
        raise TypeError(
            f"figure '{name}' is a {kind}; give a figure of matplotlib or plotly, an image of PIL "
            "or an array of pixels"
        )
    formats.save(figure, file)


def save_page(figure: Any, file: Path) -> None:
    """Write a figure of plotly as one HTML file that needs no network."""
    figure.write_html(file, include_plotlyjs=True)


def has_kaleido() -> bool:
    """Whether there is what plotly makes pictures with."""
    return importlib.util.find_spec("kaleido") is not None
