"""Scores of whole files, in one process or several."""
