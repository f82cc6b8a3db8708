"""Every gene that was measured for a concept: rows for which a card is too small, so that a table is saved whole."""

from __future__ import annotations

from cellglass.atlas import schema
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.json import dumps, shorts
from cellglass.explorer.data.rows import Rows
from cellglass.explorer.data.search_index import SearchIndex
from cellglass.explorer.data.source import Source

MOST_ROWS = 4_000_000
"""Rows that an export holds, about 40 bytes each; of an atlas with more, only a server answers for all genes."""


class AllGenes:
    """The whole rows of genes.parquet, concept by concept."""

    def __init__(self, source: Source, index: SearchIndex):
        self.source, self.index = source, index

    @cached
    def shown(self) -> list[int]:
        """Return the latent numbers whose rows an export holds: all that have any, or none."""
        n, latents = 0, set[int]()
        for batch in self.source.atlas.tables.batches(schema.GENES, ["concept"]):
            n += len(batch)
            latents.update(batch["concept"].unique().tolist())
        return sorted(latents & self.source.position.keys()) if n <= MOST_ROWS else []

    def file(self, latent: int) -> bytes:
        """Return ``METHOD/ON`` -> rows [gene, effect, standard error, score, q, n], the largest score first."""
        table = Rows(self.source.atlas.gene_rows({"concept": [latent]}))
        numbers, found = table.mapped("gene", self.index.numbers), {}
        groups = dict(table.groups(table.where("concept", latent), "method", "on"))
        for method, on in self.index.genes.methods:
            at = groups.get((method, on))
            if at is None:
                continue
            columns = (shorts(table[name][at]) for name in ("effect", "se", "score", "q"))
            rows = zip(numbers[table["gene"][at]].tolist(), *columns, table["n"][at].tolist(), strict=True)
            found[f"{method}/{on}"] = [list(row) for row in rows]
        return dumps(found)
