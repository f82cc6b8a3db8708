"""The stage that runs the cells through the model, and keeps the activations at one site.

Where that site has one row for each gene of a cell, a sample of each cell's rows is kept for the dictionary to learn
from, and beside it the model's first site with one row for each cell, in whose space cells are drawn and swap partners
are looked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellglass.files import link_or_copy
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import ACTIVATIONS, open_explained, open_model
from cellglass.seeds import derive

if TYPE_CHECKING:
    from cellglass.models.base import CellModel


class ActivationsStage(Stage):
    """Captures the site's activations, with the posterior's standard deviations where the model has them."""

    name = "activations"
    does = "run the cells through the model"
    outputs = (ACTIVATIONS,)
    needs = ("model",)

    def settings(self) -> Any:
        """Return what the store depends on beside the model."""
        config = self.run.config.model
        return {"site": config.site, "tokens_per_cell": config.tokens_per_cell, "seed": self.run.config.seed}

    def do(self, name: str, folder: Path) -> None:  # noqa: ARG002 (there is one unit)
        """Write the store; a killed capture goes on from its last whole shard, which lies beside the unit."""
        from cellglass.activations import capture

        model = open_model(self.run)
        partial = self.run.unit_folder(self.name) / "shards"
        capture(
            model,
            open_explained(self.run),
            _kept(model, self.run.config.model.site or next(iter(model.sites))),
            partial,
            tokens_per_cell=self.run.config.model.tokens_per_cell,
            seed=derive(self.run.config.seed, "activations"),
            progress=self.run.progress,
        )
        link_or_copy(partial, folder / Path(ACTIVATIONS).name)


def _kept(model: CellModel, site: str) -> list[str]:
    """Return the sites that are kept: the explained one first."""
    if model.site(site).granularity == "cell":
        return [site]
    return [site, next(name for name, one in model.sites.items() if one.granularity == "cell")]
