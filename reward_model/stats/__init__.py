"""Arrays in, numbers with intervals out; no model, no file."""
