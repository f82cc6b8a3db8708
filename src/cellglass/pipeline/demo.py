"""What the demo is told: the bundled blood cells, their labels, and settings that suit 700 cells."""

from cellglass.pipeline.config import CellsConfig, RunConfig

LABELS = ("bulk_labels", "phase")


def demo_config(seed: int = 0) -> RunConfig:
    """Return the settings of `cellglass demo`: the defaults of a run, with the labels of the bundled cells."""
    return RunConfig(cells=CellsConfig(labels=LABELS), seed=seed)
