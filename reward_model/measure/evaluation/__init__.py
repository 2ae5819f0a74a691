"""The numbers of a model on labelled texts, beside baselines."""
