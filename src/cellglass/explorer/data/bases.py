"""What else of the model can colour the cells: its k-means clusters and first principal components.

Each is listed and filed as a label of the cells is. They are read from the activations that the pipeline left in the
atlas's ``work/``; where those are gone, none is listed. At a token site a cell has the largest answer of its tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.responses import Responses
from cellglass.explorer.data.source import Source

COMPONENTS = 10
"""Principal components at most."""
_CLUSTERS, _PCA = "clusters", "pca"


class Bases:
    """Clusters and components of the site, as columns of the cells."""

    def __init__(self, source: Source):
        self.source = source
        self._of = {name: Responses(source, name) for name in (_CLUSTERS, _PCA)}

    @cached
    def listed(self) -> list[dict[str, Any]]:
        """Return name, kind, values and file of each column, as the manifest has labels."""
        found: list[dict[str, Any]] = []
        for name, responses in self._of.items():
            if not responses.there:
                continue
            n = int(responses.dictionary.n_latents)
            if name == _CLUSTERS:
                kind = "uint8" if n < 256 else "uint16"
                values = [str(number + 1) for number in range(n)]
                found.append({"name": "k-means clusters", "kind": "category", "values": values, "type": kind})
            else:
                names = [f"PC {axis + 1}" for axis in range(min(n // 2, COMPONENTS))]
                found += [{"name": one, "kind": "number", "values": None, "type": "float32"} for one in names]
        return [one | {"file": f"data/bases/{place}.bin"} for place, one in enumerate(found)]

    def column(self, place: int) -> bytes:
        """Return the codes of the clusters (0: none, i + 1: cluster i), or a component's values (NaN: none)."""
        asked = self.listed[place]
        if asked["kind"] == "category":
            codes = np.zeros(self.source.n_cells, dtype=np.int64)
            for cells, answers in self._of[_CLUSTERS].blocks():
                codes[cells] = answers.argmax(axis=1) + 1
            return codes.astype(np.dtype(asked["type"]).newbyteorder("<")).tobytes()
        axis = int(asked["name"].split()[1]) - 1
        values = np.full(self.source.n_cells, np.nan, dtype="<f4")
        for cells, answers in self._of[_PCA].blocks(np.array([axis])):
            values[cells] = answers[:, 0]
        return values.tobytes()
