"""From rows to a run folder: TRL's trainers, our losses beside them. Begin in `train.py`."""
