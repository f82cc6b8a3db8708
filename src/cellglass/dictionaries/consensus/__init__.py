"""A dictionary that is reproducible by construction: what many fits on halves of the cells have in common."""
