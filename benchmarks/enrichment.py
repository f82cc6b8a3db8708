"""How fast thousands of rankings are tested: our GSEA against decoupler's, and the other tests, on one made-up problem.

decoupler is timed on a few rankings in the same run and scaled by their number, since it takes each ranking by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from common import Row, main, timed

from cellglass.enrichment.genesets import GeneSets
from cellglass.enrichment.gsea import enrichment_scores, gsea
from cellglass.enrichment.members import Members, members
from cellglass.enrichment.ora import ora
from cellglass.enrichment.ranks import rank
from cellglass.enrichment.ulm import ulm

GENES = 3000
SETS = 500


def problem(n: int, seed: int = 0) -> tuple[np.ndarray, Members, pd.DataFrame]:
    """Return normal scores without ties, sets of 5 to 500 genes (log-uniform), and the same sets for decoupler."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(np.log(5), np.log(500), SETS)).astype(int)
    symbols = [f"g{i}" for i in range(GENES)]
    sets = {f"set{i}": tuple(rng.choice(symbols, size, replace=False)) for i, size in enumerate(sizes)}
    net = pd.DataFrame([(term, gene) for term, genes in sets.items() for gene in genes], columns=["source", "target"])
    return rng.normal(size=(n, GENES)), members(GeneSets("made up", sets), symbols, min_size=1), net


def run(quick: bool) -> Iterator[Row]:
    """Time the tests of enrichment."""
    import decoupler

    n, theirs = (100, 1) if quick else (1000, 3)
    scores, sets, net = problem(n)
    data = pd.DataFrame(
        scores[:theirs], index=[f"c{i}" for i in range(theirs)], columns=[f"g{i}" for i in range(GENES)]
    )
    gsea([scores[:1]], sets, permutations=10)  # compile
    decoupler.mt.gsea(data.iloc[:1], net, tmin=1, times=2)
    what = f"{n:,} rankings x {GENES:,} genes x {SETS} sets"

    with timed() as ours:
        gsea([scores], sets, permutations=1000)
    with timed() as peer:
        decoupler.mt.gsea(data, net, tmin=1, times=1000)
    versus = f"decoupler gsea, {theirs} rankings timed, scaled to {n:,}"
    yield Row("seconds", f"gsea {what}", ours.seconds, "s", versus, peer.seconds / theirs * n / ours.seconds)

    exact, _ = decoupler.mt.gsea(data, net, tmin=1, times=0)
    es, _ = enrichment_scores(rank(scores[:theirs]), sets)
    worst = float(np.abs(es - exact[list(sets.terms)].to_numpy()).max())
    yield Row("largest_difference", "enrichment scores", worst, "1", "decoupler gsea")

    with timed() as ours:
        ulm([scores], sets)
    yield Row("seconds", f"ulm {what}", ours.seconds, "s")
    few = min(n, 100)
    with timed() as ours:
        ora([scores[:few]], sets)
    named = pd.DataFrame(scores[:few], index=[f"c{i}" for i in range(few)], columns=data.columns)
    decoupler.mt.ora(named.iloc[:1], net, tmin=1, n_up=GENES - 50, n_bg=0)  # compile
    with timed() as peer:
        decoupler.mt.ora(named, net, tmin=1, n_up=GENES - 50, n_bg=0)
    yield Row("seconds", f"ora {few} rankings", ours.seconds, "s", "decoupler ora", peer.seconds / ours.seconds)


if __name__ == "__main__":
    main(run)
