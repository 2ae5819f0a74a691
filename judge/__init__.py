"""Blind scores for reports, agreement between judges, and validation of a scored data set."""
