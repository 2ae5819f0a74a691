"""What is wrong with a model folder or a file, before it costs a run."""
