"""One run: where it writes, what it was told, and what its stages hand on. It does nothing by itself.

A run can be pickled, so that a unit of a stage can be done in another process: what lies in memory is written below
``work/`` by the first stages and read from there; only a model whose code is with the caller alone goes along.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellglass.pipeline.config import RunConfig
from cellglass.progress import Progress, silent


@dataclass
class Run:
    """One run.

    Attributes
    ----------
    folder : Path
        The atlas.
    config : RunConfig
        What the stages read their settings from.
    inputs : dict
        Objects that the caller brings, such as a model or cells in memory.
    progress : Progress
        Told how far each stage is.
    fingerprints : dict
        Of each stage that has begun, the digest of all that its result depends on.
    """

    folder: Path
    config: RunConfig
    inputs: dict[str, Any] = field(default_factory=dict)
    progress: Progress = silent
    fingerprints: dict[str, str] = field(default_factory=dict)

    def path(self, *parts: str) -> Path:
        """Return a path inside the atlas."""
        return self.folder.joinpath(*parts)

    def unit_folder(self, stage: str) -> Path:
        """Return the folder of finished units of `stage` for its present fingerprint."""
        return self.path("work", "units", f"{stage}-{self.fingerprints[stage][:12]}")

    def __getstate__(self) -> dict[str, Any]:
        from cellglass.models.registry import is_read_back

        model = self.inputs.get("model")
        kept = {name: value for name, value in self.inputs.items() if value is None or isinstance(value, Path)}
        if model is not None and not is_read_back(model.kind):
            kept["model"] = model
        return {**self.__dict__, "inputs": kept, "progress": silent}
