"""What the demo is told: the bundled blood cells, their labels, a kind of model, and settings that suit 700 cells."""

from __future__ import annotations

from pathlib import Path

from cellglass.attribution.config import AttributionConfig
from cellglass.errors import InputError
from cellglass.models.registry import fittable
from cellglass.pipeline.config import CellsConfig, ModelConfig, RunConfig

LABELS = ("bulk_labels", "phase")
_FEW = AttributionConfig(prototypes=10, partners=3, genes=20)
"""Of a transformer, in which every swap of a count is a run of its own."""


def demo_config(seed: int = 0, model: str = "scvi") -> RunConfig:
    """Return the settings of `cellglass demo`: the defaults of a run, with the labels of the bundled cells."""
    if model not in fittable():
        raise InputError(f"the demo fits no {model!r}; give one of: {', '.join(fittable())}")
    attribution = AttributionConfig() if model == "scvi" else _FEW
    return RunConfig(CellsConfig(labels=LABELS), ModelConfig(path=model), attribution=attribution, seed=seed)


def demo_folder(model: str = "scvi") -> Path:
    """Return where the demo's atlas is written by default: a folder for each kind of model."""
    return Path("demo-atlas" if model == "scvi" else f"demo-atlas-{model}")
