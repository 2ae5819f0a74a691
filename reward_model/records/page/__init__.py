"""Self-contained HTML pages: one file, no network, light and dark, phone, keyboard.

A package keeps `templates/NAME.html.j2` (extends `base.html.j2`) and, if it needs them, `NAME.css`
and `NAME.js` beside it; `render("my.package", "NAME", ...)` is the whole page as text.
"""

from reward_model.records.page.phrases import PageLanguage, Phrases, phrases
from reward_model.records.page.plots import Plot, plot
from reward_model.records.page.render import json_island, render

__all__ = ["PageLanguage", "Phrases", "Plot", "json_island", "phrases", "plot", "render"]
