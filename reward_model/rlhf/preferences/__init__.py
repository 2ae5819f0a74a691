"""Preference data of scored groups, for DPO and its kin."""
