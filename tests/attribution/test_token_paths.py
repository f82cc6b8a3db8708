"""Path effects through tokens: against one pair and one step at a time, and what they add up to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.attribution import AttributionConfig, attribute, token_paths
from cellglass.attribution.gradients import path_effects
from cellglass.attribution.work import Subject
from cellglass.cells import simulate
from cellglass.dictionaries import TopK, TopKConfig
from cellglass.models.kind import FitConfig
from cellglass.models.registry import fit

PROTOTYPE, PARTNER, CONCEPT = np.array([3, 3, 11, 20, 7]), np.array([8, 25, 2, 21, 7]), np.array([1, 0, 5, 2, 3])


@pytest.fixture(scope="module")
def cells():
    return simulate(n_cells=40, n_genes=40, n_programs=2, genes_per_program=8, n_types=2, seed=3).cells


@pytest.fixture(scope="module", params=["scgpt", "geneformer"])
def subject(request, cells):
    torch.manual_seed(0)
    model = fit(request.param, cells, FitConfig(layers=2, width=16, epochs=0))
    with torch.no_grad():
        for parameter in model.net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    aligned = model.align(cells)
    dictionary = TopK(TopKConfig(16, 8, k=3))
    with torch.no_grad():
        dictionary.encoder.copy_(torch.randn(8, 16))
        dictionary.centre.copy_(model.activations(aligned, ["cell"])["cell"].mean(dim=0))
    return Subject(model, aligned, "cell", dictionary.freeze())


def slowly(subject, p, q, c, steps):
    """Midpoints, one pair and one step at a time."""
    line = subject.model.line("cell", subject.cells, np.array([p]), np.array([q]))
    effects = np.zeros(subject.cells.n_genes)
    for i in range(steps):
        u = torch.full(line.gene.shape, (i + 0.5) / steps).requires_grad_()
        slope = torch.autograd.grad(subject.dictionary.preactivations(line.read(u))[0, c], u)[0][0]
        for gene, value in zip(line.gene[0].tolist(), slope.tolist(), strict=True):
            if gene >= 0:
                effects[gene] += value / steps
    return effects


def test_path_effects_equal_a_plain_loop(subject, monkeypatch):
    for tokens in (4096, 60):
        monkeypatch.setattr(token_paths, "_TOKENS", tokens)
        found = path_effects(subject, PROTOTYPE, PARTNER, CONCEPT, on="preactivation", steps=3)
        x = subject.model.activations(subject.cells, ["cell"])["cell"]
        value = subject.dictionary.preactivations(x).detach().numpy()
        np.testing.assert_allclose(found.readout, value[PROTOTYPE, CONCEPT], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(
            found.difference, value[PROTOTYPE, CONCEPT] - value[PARTNER, CONCEPT], rtol=1e-3, atol=1e-4
        )
        for i, (p, q, c) in enumerate(zip(PROTOTYPE, PARTNER, CONCEPT, strict=True)):
            wanted = slowly(subject, p, q, c, 3)
            np.testing.assert_allclose(found.effects[i] * found.readout[i], wanted, rtol=1e-3, atol=2e-5)


def test_effects_add_up_and_unread_genes_have_none(subject):
    found = path_effects(subject, PROTOTYPE, PARTNER, CONCEPT, on="preactivation", steps=64, rule="gauss")
    total = found.effects.sum(axis=1) * found.readout
    np.testing.assert_allclose(total, found.difference, rtol=0.01, atol=0.01 * np.abs(found.readout).max())
    counts = subject.cells.counts.toarray()
    neither = (counts[PROTOTYPE] == 0) & (counts[PARTNER] == 0)
    assert neither.any()
    assert (found.effects[neither] == 0).all()
    assert (found.effects[4] == 0).all()  # a cell against itself


def test_a_gradient_is_the_slope_at_the_prototype_also_of_genes_that_it_lacks(subject):
    counts = subject.cells.counts.toarray()
    lacks = [((counts[p] == 0) & (counts[:, :] > 0)).sum(axis=1) for p in range(6)]
    p = int(np.argmax([row.max() for row in lacks]))
    q = int(np.argmax(lacks[p]))
    found = path_effects(subject, np.array([p]), np.array([q]), CONCEPT[:1], on="preactivation", steps=1, rule="end")
    line = subject.model.line("cell", subject.cells, np.array([p]), np.array([q]))
    absent = np.flatnonzero((counts[p] == 0) & (counts[q] > 0))
    strongest = int(absent[np.argmax(np.abs(found.effects[0][absent]))])
    assert found.effects[0, strongest] != 0

    def value(u: float) -> float:
        at = torch.ones(line.gene.shape)
        at[line.gene == strongest] = u
        with torch.no_grad():
            return float(subject.dictionary.preactivations(line.read(at))[0, CONCEPT[0]])

    slope = (value(1.0) - value(0.99)) / 0.01
    assert found.effects[0, strongest] * found.readout[0] == pytest.approx(slope, rel=0.1, abs=2e-4)


def test_a_transformer_is_attributed_by_paths_gradients_and_screened_swaps(subject):
    x = subject.model.activations(subject.cells, ["cell"])["cell"]
    codes = subject.dictionary.encode(x).to_csr().tocsc()
    concepts = [c for c in range(8) if 8 <= codes[:, [c]].nnz < 40][:2]
    config = AttributionConfig(
        ("path", "gradient", "swap", "knockout"),
        prototypes=4,
        partners=2,
        budget=0.2,
        on=("activation",),
        token_steps=6,
    )
    found = attribute(
        subject.model, subject.cells, "cell", subject.dictionary, codes, x.numpy(), concepts, config=config
    )
    assert found.notes == ()
    n = found.genes[found.genes["on"] == "activation"].groupby(["concept", "method"]).size().unstack()
    assert (n["path"] == n["gradient"]).all()
    assert (n["swap"] < n["path"] / 2).all()
    assert found.pairs["gap"].notna().any()
