"""Changes that are tried in the real model: what a reader asks, the model behind it, one computation at a time."""
