"""The stage that looks for each concept in the dictionaries of the other seeds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import CONSENSUS, open_activations, open_dictionaries
from cellglass.seeds import derive
from cellglass.threads import threads


class ConsensusStage(Stage):
    """Looks for the concepts in the other seeds, in the rows that the evaluation looks at too."""

    name = "consensus"
    does = "look for the concepts in the other seeds"
    outputs = (CONSENSUS,)
    needs = ("activations", "dictionaries")

    def settings(self) -> Any:
        """Return what the sample of rows depends on."""
        return {"seed": self.run.config.seed}

    def do(self, name: str, folder: Path) -> None:  # noqa: ARG002 (there is one unit)
        """Write, for each concept, in how many of the others it is found."""
        from cellglass.evaluation.consensus import consensus
        from cellglass.evaluation.labels import sample_rows
        from cellglass.evaluation.run import encode_rows

        store, site = open_activations(self.run)
        rows = sample_rows(store.n_rows(site), derive(self.run.config.seed, "evaluation"))
        found = open_dictionaries(self.run, "concepts")
        with threads(1):
            codes = [encode_rows(one, partial(store.read, site), rows) for one in found]
            table = consensus(codes).assign(others=len(codes) - 1)
        table.to_parquet(folder / Path(CONSENSUS).name, index=False)
