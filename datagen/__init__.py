"""Golden reports and controlled degradations of them, written by a language model."""
