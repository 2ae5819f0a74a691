"""Companies of one's own: their files (`companies.py`), and CSV as it is found (`sheet.py`)."""

from datagen.own.companies import fitted, read_companies

__all__ = ["fitted", "read_companies"]
