"""Plots as inline SVG that follow the page: its font, its ink in light and dark, no style rules.

Use: ``with plot("gaps", "Histogram of the gap", width=6, height=3) as p: p.axes.bar(...)``, then
``{{ p|svg }}`` in a template. Draw lines and text in `INK`, series in `SERIES`.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

INK = "#010203"
"""Becomes the page's text colour."""
SERIES = ("#3b82c4", "#d9822b", "#2f9e75", "#b1559e", "#8a8f2b", "#c9504b")
"""Readable on white and on near-black, and apart for colour-blind readers."""


@dataclass
class Plot:
    """A drawing in progress, and its SVG once the `with` block has ended."""

    name: str
    """Unique in the page."""
    title: str
    """What the plot shows, for readers who cannot see it."""
    axes: Any
    """matplotlib Axes to draw on (a list of them when several columns were asked for)."""
    svg: str = field(default="", repr=False)


@contextmanager
def plot(
    name: str, title: str, *, width: float = 6, height: float = 3, columns: int = 1
) -> Iterator[Plot]:
    """Yield a `Plot`; `width` and `height` in inches at 100 px, scaled down on narrow screens."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "text.parse_math": False,
        "svg.hashsalt": name,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "axes.unicode_minus": True,
    }
    with mpl.rc_context(style), warnings.catch_warnings():
        # Glyphs are the browser's business: the text stays text in the SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns)
        for one in [axes] if columns == 1 else axes:
            one.set_prop_cycle(color=list(SERIES))
        drawing = Plot(name, title, axes if columns == 1 else list(axes))
        yield drawing
        buffer = io.StringIO()
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    drawing.svg = inline(buffer.getvalue(), name, title)


def inline(svg: str, name: str, title: str) -> str:
    """Make matplotlib's SVG file fit to stand inside a page.

    Style rules become attributes (the page allows no inline styles), ids become unique, and the
    size follows the page.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r' style="([^"]*)"', lambda m: _attributes(m[1]), body)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\g<1>{name}-", body)
    body = body.replace(INK, "currentColor")
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', body)
    width = float(box[1]) * 100 / 72 if box else 600.0
    head = f'<svg class="plot" role="img" aria-label="{escape(title)}" width="{width:.0f}" '
    head += f'viewBox="0 0 {box[1]} {box[2]}" ' if box else ""
    head += 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg">'
    return head + re.sub(r"^<svg[^>]*>", "", body).strip()


def _attributes(style: str) -> str:
    found = []
    for rule in style.split(";"):
        key, _, value = (part.strip() for part in rule.partition(":"))
        if key == "font":  # the family and the rest come from the page
            size = re.search(r"([\d.]+)px", value)
            key, value = "font-size", size[1] if size else "9"
        if key and key != "font-family":
            found.append(f' {key}="{value.replace(chr(34), "")}"')
    return "".join(found)
