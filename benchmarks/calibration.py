"""What random structure gets: the share of findings at q < 0.05 where there is nothing to find, test by test.

    concepts    that are reported of cells without structure (genes independent, depth varies), scVI and the default
                dictionary fitted to them.
    pairs       of the same cells, of concepts and of residual latents. In place of real partners stand cells with the
                latent, as far off as the real ones: no gene is behind what they lack. ``hubs``: the same, all from one
                quarter of such cells, so that prototypes share them.
    knock-outs  of the same cells: they have no q, so nothing can be found.
    gene sets   simulated cells with planted programs, which are the sets; gene names are shuffled within bins of
                expression, so that no set means anything. By q alone, and by null_q, the claim.
    labels      the dictionary of the simulated cells, with the labels of cells permuted.
    power       paths of the simulated cells with their real partners: not random, here for comparison.

Each is done in 10 repetitions; --quick does 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from common import Row, main

from cellglass import dictionaries
from cellglass.attribution import AttributionConfig, Block, Work
from cellglass.attribution.methods import knockout, path, swap
from cellglass.attribution.neighbours import distances, matched, read_rows
from cellglass.attribution.pairs import REUSED, choose_pairs
from cellglass.cells import simulate
from cellglass.cells.cells import Cells
from cellglass.dictionaries.kinds.consensus import Consensus
from cellglass.enrichment import EnrichmentConfig, GeneSets, enrich
from cellglass.enrichment.normal_scores import normal_scores
from cellglass.enrichment.null import expression_bins
from cellglass.evaluation import label_of_concepts
from cellglass.models import scvi

LEVEL = 0.05
LATENTS, WIDTH = 24, 10
"""Latents whose pairs are tried in a repetition, concepts first, and the width of the site."""
FEWEST = 24
"""Cells in which a latent must be active for that."""


class Found(NamedTuple):
    """Findings of one repetition: how many were tested and found, and of how many concepts any was."""

    tested: int
    found: int
    concepts: int
    with_any: int

    @classmethod
    def of(cls, q: pd.Series[Any], concept: pd.Series[Any]) -> Found:
        """Count q-values of concepts; what has none was not tested."""
        hit = (q < LEVEL).groupby(concept).any()
        return cls(int(q.notna().sum()), int((q < LEVEL).sum()), len(hit), int(hit.sum()))


def structureless(seed: int, n_cells: int = 500, n_genes: int = 200) -> Cells:
    """Return cells whose genes are independent; their depth varies by a factor of about two."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(0, 1, n_genes)
    depth = rng.lognormal(np.log(800), 0.4, n_cells)
    counts = sp.csr_matrix(rng.poisson(depth[:, None] * base / base.sum()).astype(np.float32))
    genes = pd.DataFrame({"symbol": [f"G{i}" for i in range(n_genes)]}, index=[f"G{i}" for i in range(n_genes)])
    return Cells(counts, genes, pd.DataFrame(index=[f"c{i}" for i in range(n_cells)]), source="structureless")


def explained(cells: Cells, seed: int, epochs: int = 5) -> Work:
    """Return a model and the default dictionary fitted to the cells, ready to be attributed."""
    model = scvi.fit(cells, epochs=epochs, n_latent=WIDTH, n_hidden=64, seed=seed)
    z = model.activations(cells, ["z"])["z"]
    dictionary = dictionaries.fit("consensus", z, seed=seed)
    codes = dictionary.encode(z).to_csr().tocsc().astype(np.float32)
    config = AttributionConfig(methods=("path", "swap", "knockout"), on=("activation",))
    return Work(model, cells, "z", dictionary, codes, z.numpy(), config, seed)


def without_real_partners(work: Work, concept: int, *, hubs: bool, seed: int) -> pd.DataFrame:
    """Return the pairs of a concept with cells that have it in place of its real partners, as far off and as deep.

    The null partners are chosen for those, by the rule of `choose_pairs`, from what is left.
    """
    table, pool = choose_pairs(work, [concept]).table, work.pool
    prototypes = table["prototype"].unique()
    strong = work.strong(concept)
    mine = np.isin(pool.rows, strong if len(strong) >= len(prototypes) + 20 else work.active(concept)[0])
    mine &= ~np.isin(pool.rows, prototypes)
    instead = mine.copy()
    if hubs:
        few = np.random.default_rng(seed).permutation(np.flatnonzero(mine))[mine.sum() // 4 :]
        instead[few] = False
    used = np.zeros((2, len(pool.rows)), dtype=np.int64)  # as partners and as null partners
    most = max(REUSED, -(-5 * len(prototypes) // max(int(instead.sum()) // 2, 1)))
    rows: list[tuple[int, int, str]] = []
    for cell, vector in zip(prototypes, read_rows(work.activations, work.site, prototypes), strict=True):
        far = distances(pool, vector)
        real = table.loc[(table["prototype"] == cell) & (table["kind"] == "real"), "partner"].to_numpy()
        taken = matched(far, work.depth, instead & (used[0] < most), np.searchsorted(pool.rows, real))
        left = (mine & ~instead) if hubs else mine.copy()
        left[taken] = False
        null = matched(far, work.depth, left & (used[1] < most), taken)
        used[0, taken] += 1
        used[1, null] += 1
        rows += [(cell, place, "real") for place in pool.rows[taken]] + [(cell, p, "null") for p in pool.rows[null]]
    pairs = pd.DataFrame(rows, columns=["prototype", "partner", "kind"])
    return pairs.assign(concept=np.int32(concept), difference=np.float32(np.nan), gap=np.float32(np.nan))


def findings(work: Work) -> int:
    """Return how many of the dictionary's latents, from the first on, are concepts."""
    dictionary = work.dictionary
    assert isinstance(dictionary, Consensus)  # noqa: S101  it is that kind
    return dictionary.n_findings


def of_pairs(seed: int) -> dict[str, Found]:
    """Return what swaps, paths and knock-outs find in cells without structure, and how many concepts there are."""
    work = explained(structureless(seed), seed)
    n, latents = findings(work), work.dictionary.n_latents
    able = [c for c in range(latents) if len(work.active(c)[0]) >= FEWEST][:LATENTS]
    found = {"concepts without structure": Found(latents, n, 1, int(n > 0))}
    for sort, some in (("", [c for c in able if c < n]), (", residual latents", [c for c in able if c >= n])):
        found |= {f"{name}{sort}": one for name, one in of_latents(work, some, seed).items()} if some else {}
    return found


def of_latents(work: Work, concepts: list[int], seed: int) -> dict[str, Found]:
    """Return what swaps, paths and knock-outs find for some latents whose real partners have them too."""
    from cellglass.attribution.effects import readable
    from cellglass.attribution.pairs import Pairs

    found = {}
    for hubs in (False, True):
        tables = [without_real_partners(work, c, hubs=hubs, seed=seed) for c in concepts]
        nothing = pd.DataFrame({"concept": concepts, "note": ""})
        pairs = readable(work, Pairs(pd.concat(tables, ignore_index=True), nothing)).table
        block = Block(work, concepts, pairs)
        for method in (path, swap) if hubs else (path, swap, knockout):
            rows = method.ENTRY.rows(block, "activation")
            found[f"{method.ENTRY.name}{', hubs' if hubs else ''}"] = Found.of(rows["q"], rows["concept"])
    return found


def of_gene_sets(seed: int, n_genes: int = 600) -> dict[str, Found]:
    """Return what gene-set tests find in the paths of planted concepts when genes have each other's names."""
    planted = simulate(n_cells=400, n_genes=n_genes, n_programs=12, genes_per_program=20, n_types=4, seed=seed)
    work = explained(planted.cells, seed, epochs=15)
    from cellglass.attribution import attribute

    genes = planted.cells.genes.index
    config = AttributionConfig(methods=("path",))
    concepts = range(findings(work))
    result = attribute(
        work.model, work.cells, "z", work.dictionary, work.codes, work.activations, concepts, config=config, seed=seed
    )
    scores = result.effects("path", "activation", genes)
    power = Found.of(result.genes["q"], result.genes["concept"])
    expression = planted.cells.counts.mean(axis=0).A1
    rng = np.random.default_rng(seed)
    names = genes.to_numpy(dtype=object).copy()
    bins = expression_bins(expression)
    for one in np.unique(bins):
        names[bins == one] = rng.permutation(names[bins == one])
    order = np.argsort(expression)  # sets as real ones are: of genes of like expression, some of them of high
    sets = {f"near {i}": tuple(genes[order[i * 20 : i * 20 + 40 : 2]]) for i in range(n_genes // 20 - 1)}
    sets |= {name: tuple(genes[planted.membership[name]]) for name in planted.membership}
    found = {"power: path, real partners": power}
    for test in ("gsea", "ulm", "ora"):
        given = scores if test == "ora" else scores.mul(0).add(normal_scores(scores.to_numpy()))
        config = EnrichmentConfig(tests=(test,), permutations=300)
        rows = enrich(given, list(names), expression, [GeneSets("sets", sets)], config, seed=seed).pathways
        for by in ("q", "null_q"):
            hit = rows[rows[by] < LEVEL]
            tests = len(scores) * len(sets)
            found[f"{test} by {by}"] = Found(tests, len(hit), len(scores), hit["concept"].nunique())
    values = planted.cells.obs["cell_type"]
    permuted = pd.DataFrame({"cell_type": values.sample(frac=1, random_state=seed).to_numpy()})
    labels = label_of_concepts(work.codes, permuted, seed)
    live = labels[np.diff(work.codes.indptr) > 0]
    found["labels permuted"] = Found.of(live["q"].fillna(1.0), live["latent"])
    return found


def measure(repetitions: int) -> pd.DataFrame:
    """Return, for each test, the share of findings and of concepts with any, over all repetitions, and their counts."""
    of: dict[str, list[Found]] = {}
    for seed in range(repetitions):
        for name, found in {**of_pairs(seed), **of_gene_sets(seed)}.items():
            of.setdefault(name, []).append(found)
    table = pd.DataFrame({name: np.sum(found, axis=0) for name, found in of.items()}, index=list(Found._fields)).T
    table["share"] = table["found"] / table["tested"].clip(lower=1)
    table["share_of_concepts"] = table["with_any"] / table["concepts"].clip(lower=1)
    return table


def run(quick: bool) -> Iterator[Row]:
    """Count what is found where there is nothing to find."""
    for name, row in measure(2 if quick else 10).iterrows():
        yield Row("findings", f"{name}, of {row['tested']:,.0f} tests", 100 * row["share"], "%")
        yield Row("concepts_with_any", f"{name}, of {row['concepts']:,.0f}", 100 * row["share_of_concepts"], "%")


if __name__ == "__main__":
    main(run)
