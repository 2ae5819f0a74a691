"""The model card: what a model folder says of itself, from what was measured and nothing else."""

from reward_model.model.card.record import FOLDER, PARTS, Part, read_parts, record

__all__ = ["FOLDER", "PARTS", "Part", "read_parts", "record"]
