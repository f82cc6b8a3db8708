"""Training of dictionaries: batches, steps, checkpoints, defaults. Knows of no kind but through its config."""
