"""Counterfactual edits and path effects on scVI: our exact short cuts against encoding every changed cell whole.

Cells are simulated (3,000 genes) and the model is trained for a few epochs: speed does not depend on what it learned.
All runs on one thread, and seconds are seconds of that thread's processor time, the best of a few repeats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from common import Row, main

from cellglass.attribution.edits import Edits
from cellglass.attribution.effects import effects
from cellglass.attribution.gradients import path_effects
from cellglass.attribution.methods.swap import swap_edits
from cellglass.attribution.pairs import choose_pairs
from cellglass.attribution.work import Subject, Work
from cellglass.cells.simulate import simulate
from cellglass.dictionaries.kinds.topk import TopK, TopKConfig
from cellglass.models.scvi.model import ScviModel
from cellglass.threads import threads

N_GENES = 3000
PLAIN_BATCHES = (32, 128, 512, 2048)


def run(quick: bool) -> Iterator[Row]:
    """Measure single swaps, the whole sweep and path effects."""
    with threads(1):
        bench = Bench(n_cells=600 if quick else 3000, epochs=1 if quick else 10, concepts=8 if quick else 64)
        yield from bench.edits(200_000 if quick else 1_000_000, 4_096 if quick else 16_384)
        yield from bench.sweep(8_192 if quick else 32_768)
        yield from bench.paths(200 if quick else 2_000, 100 if quick else 400)


class Whole(ScviModel):
    """The model without its short cut."""

    def __init__(self, model: ScviModel) -> None:
        super().__init__(model.cfg, model.tensors, model.gene_table, model.covariates)

    def linear_front(self, site: str) -> None:
        """Return none, so that every step of a path runs through the whole model."""


class Bench:
    """A model, a dictionary with 256 latents and the pairs of some concepts."""

    def __init__(self, n_cells: int, epochs: int, concepts: int) -> None:
        simulated = simulate(n_cells=n_cells, n_genes=N_GENES, seed=0)
        self.model = ScviModel.fit(simulated.cells, epochs=epochs, seed=0, device="cpu")
        self.cells = self.model.align(simulated.cells)
        z = self.model.activations(self.cells, ["z"])["z"]
        self.dictionary = a_dictionary(z)
        codes = self.dictionary.encode(z).to_csr().tocsc()
        often = np.flatnonzero(np.diff(codes.indptr) >= 40)[:concepts]
        self.subject = Work(self.model, self.cells, "z", self.dictionary, codes, z)
        table = choose_pairs(self.subject, often.tolist()).table
        self.pairs = [table[name].to_numpy(dtype=np.int64) for name in ("prototype", "partner", "concept")]
        self.n_concepts = len(often)

    def edits(self, n_fast: int, n_plain: int) -> Iterator[Row]:
        """Site vectors of single swaps, each edit run as it comes."""
        all_edits = swap_edits(self.cells.counts, *self.pairs)
        fast = taken(all_edits, n_fast)
        piece = 4096

        def ours(edits: Edits) -> torch.Tensor:
            parts = [
                self.model.perturbed_activations(
                    self.cells, "z", edits.cell[i : i + piece], edits.gene[i : i + piece], edits.counts[i : i + piece]
                )
                for i in range(0, len(edits.row), piece)
            ]
            return torch.cat(parts)

        rate = len(fast.row) / seconds(lambda: ours(fast), repeats=3)
        plain = taken(all_edits, n_plain)
        theirs, size, values = self.plainly(plain)
        yield Row("swaps_per_second", "site vectors, exact short cut", rate, "1/s", "whole cells", rate / theirs)
        yield Row("swaps_per_second", f"site vectors, whole cells in batches of {size}", theirs, "1/s")
        found = ours(plain)
        error = (found - values).norm(dim=1) / values.norm(dim=1)
        yield Row("relative_difference", "site vectors, largest |fast - plain| / |plain|", float(error.max()), "")

    def plainly(self, edits: Edits) -> tuple[float, int, torch.Tensor]:
        """Encode swapped cells whole, in batches of several sizes; return the best rate, its size and the values."""
        values = {}

        def whole(size: int) -> None:
            parts = []
            for i in range(0, len(edits.row), size):
                cell, gene, count = (x[i : i + size] for x in (edits.cell, edits.gene, edits.counts))
                parts.append(self.model.perturbed_activations_plain(self.cells, "z", cell, gene, count))
            values["z"] = torch.cat(parts)

        took = {size: seconds(lambda size=size: whole(size), repeats=2) for size in PLAIN_BATCHES}
        best = min(took, key=lambda size: took[size])
        return len(edits.row) / took[best], best, values["z"]

    def sweep(self, n_plain: int) -> Iterator[Row]:
        """From pairs to effects on both readouts, repeats run once; and the plain way on some of the swaps."""
        both = ("activation", "preactivation")
        blocks = np.array_split(np.unique(self.pairs[2]), max(1, self.n_concepts // 8))
        found = []

        def ours() -> None:
            found.clear()
            for block in blocks:
                mine = np.isin(self.pairs[2], block)
                edits = swap_edits(self.cells.counts, *(x[mine] for x in self.pairs))
                found.append((edits, effects(self.subject, edits, both)))

        took = seconds(ours, repeats=2)
        rate = sum(len(edits.row) for edits, _ in found) / took
        edits, values = found[0]
        some = taken(edits, n_plain)
        where = np.linspace(0, len(edits.row) - 1, len(some.row)).astype(np.int64)
        best = max(
            len(some.row) / seconds(lambda size=size: self.plain_effects(some, size), repeats=2)
            for size in PLAIN_BATCHES
        )
        plain = self.plain_effects(some, PLAIN_BATCHES[-1])
        yield Row(
            "swaps_per_second",
            f"sweep of {self.n_concepts} concepts, pairs to effects",
            rate,
            "1/s",
            "plain",
            rate / best,
        )
        yield Row("swaps_per_second", "sweep, whole cells and every latent", best, "1/s")
        for on, expected in plain.items():
            error = np.abs(values[on][where] - expected)
            yield Row("absolute_difference", f"effects on the {on} (shares), largest", float(error.max()), "")

    def plain_effects(self, edits: Edits, size: int) -> dict[str, np.ndarray]:
        """Return effects the plain way: each swapped cell and its original encoded whole, in batches of `size`."""
        out: dict[str, list[np.ndarray]] = {"activation": [], "preactivation": []}
        with torch.no_grad():
            for i in range(0, len(edits.row), size):
                cell, concept, gene, count = (
                    x[i : i + size] for x in (edits.cell, edits.concept, edits.gene, edits.counts)
                )
                after = self.model.perturbed_activations_plain(self.cells, "z", cell, gene, count)
                unique, which = np.unique(cell, return_inverse=True)
                before = self.model.activations(self.cells[unique], ["z"])["z"][torch.from_numpy(which)]
                reads = [self.read(x, torch.from_numpy(concept)) for x in (before, after)]
                for on, parts in out.items():
                    parts.append(((reads[0][on] - reads[1][on]) / reads[0][on]).numpy())
        return {on: np.concatenate(parts) for on, parts in out.items()}

    def read(self, x: torch.Tensor, latent: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return both readouts of latent ``latent[i]`` in row i of `x`."""
        pre = self.dictionary.preactivations(x)[torch.arange(len(x)), latent]
        return {"activation": self.dictionary.activations_of(x, latent), "preactivation": pre}

    def paths(self, n_fast: int, n_plain: int) -> Iterator[Row]:
        """Path effects of pairs, 32 steps: gradients averaged behind the first layer, or through the whole model."""

        def walk(n: int, front: bool) -> Callable[[], object]:
            pairs = [x[:n] for x in self.pairs]
            subject = self.subject if front else Subject(Whole(self.model), self.cells, "z", self.dictionary)
            return lambda: path_effects(subject, *pairs)

        rates, results = [], []
        for n, front in ((min(n_fast, len(self.pairs[0])), True), (min(n_plain, len(self.pairs[0])), False)):
            results.append(walk(n, front)())
            rates.append(n / seconds(walk(n, front), repeats=2))
        fast, plain = results
        yield Row(
            "pairs_per_second",
            "path effects, linear front",
            rates[0],
            "1/s",
            "autograd through all",
            rates[0] / rates[1],
        )
        yield Row("pairs_per_second", "path effects, autograd through the whole model", rates[1], "1/s")
        n = min(len(fast.effects), len(plain.effects))
        scale = np.abs(plain.effects[:n]).max(axis=1, keepdims=True)
        error = np.abs(fast.effects[:n] - plain.effects[:n]) / scale
        yield Row("relative_difference", "path effects, largest, of the pair's largest effect", float(error.max()), "")
        yield Row("completeness_gap", "path effects, median, 32 midpoints", float(np.nanmedian(fast.gap)), "")
        pairs = [x[:n] for x in self.pairs]
        gauss = path_effects(self.subject, *pairs, rule="gauss")
        yield Row(
            "completeness_gap", "path effects, median, 32 Gauss-Legendre points", float(np.nanmedian(gauss.gap)), ""
        )


def a_dictionary(z: torch.Tensor, n_latents: int = 256, k: int = 12) -> TopK:
    """Return a TopK dictionary of random unit directions over `z`: as fast as a trained one."""
    directions = torch.randn(n_latents, z.shape[1], generator=torch.Generator().manual_seed(0))
    dictionary = TopK(TopKConfig(z.shape[1], n_latents, k))
    with torch.no_grad():
        dictionary.encoder.copy_(torch.nn.functional.normalize(directions, dim=1))
        dictionary.decoder.copy_(dictionary.encoder)
        dictionary.centre.copy_(z.mean(dim=0))
        dictionary.scale.copy_((z - z.mean(dim=0)).square().sum(dim=1).mean().sqrt())
    return dictionary.freeze()


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least processor time that `work` took."""
    took = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return min(took)


def taken(edits: Edits, n: int) -> Edits:
    """Return `n` edits, evenly spread, in order."""
    rows = np.linspace(0, len(edits.row) - 1, min(n, len(edits.row))).astype(np.int64)
    return Edits(*(x[rows] for x in edits))


if __name__ == "__main__":
    main(run)
