"""The whole folder on a real scVI model, real dictionaries and a store on disk."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass import dictionaries
from cellglass.activations.capture import capture
from cellglass.attribution import AttributionConfig, attribute
from cellglass.cells.simulate import simulate
from cellglass.models.embedding import EmbeddingModel
from cellglass.models.scvi.model import ScviModel

pytestmark = pytest.mark.slow

SMALL = AttributionConfig(prototypes=4, partners=2)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    simulated = simulate(n_cells=400, n_genes=300, n_programs=6, n_batches=2, seed=1)
    model = ScviModel.fit(
        simulated.cells, n_latent=8, n_hidden=32, n_layers=2, epochs=8, batch="batch", seed=0, device="cpu",
        encode_covariates=True,
    )  # fmt: skip
    cells = model.align(simulated.cells)
    store = capture(model, cells, ["z", "encoder.hidden.0", "decoder.hidden.0"], tmp_path_factory.mktemp("store"))
    return model, cells, store


@pytest.mark.parametrize(
    ("site", "kind"),
    [
        ("z", "matryoshka"),
        ("z", "neurons"),
        ("z", "pca"),
        ("z", "ica"),
        ("z", "random"),
        ("encoder.hidden.0", "nmf"),
        ("decoder.hidden.0", "pca"),
    ],
)
def test_every_dictionary_on_every_site_equals_cells_encoded_whole(fitted, site, kind):
    model, cells, store = fitted
    dictionary = dictionaries.fit(kind, store.rows(site), n_components=8 if kind == "nmf" else None, seed=0)
    # NMF encodes by 300 steps of a solver in float32, which carries rounding further than a product does.
    rounding = 3e-4 if kind == "nmf" else 2e-5
    codes = dictionary.encode(store.read(site)).to_csr().tocsc()
    concepts = np.flatnonzero((np.diff(codes.indptr) >= 8) & (np.diff(codes.indptr) < cells.n_cells))[:3]
    assert len(concepts)
    result = attribute(model, cells, site, dictionary, codes, store, concepts, config=SMALL)
    assert result.notes == ()
    assert set(result.genes["method"]) == {"swap", "knockout", "path", "de"}
    assert not result.genes[["effect", "score"]].isna().any(axis=None)
    number = result.pairs["concept"].iloc[0]
    pairs = result.pairs[(result.pairs["concept"] == number) & (result.pairs["kind"] == "real")]
    swaps = result.genes[(result.genes["method"] == "swap") & (result.genes["concept"] == number)]
    counts = cells.counts.toarray()
    latent = torch.tensor([number])
    for gene in swaps["gene"].iloc[[0, len(swaps) // 4]]:
        g = cells.genes.index.get_loc(gene)
        effects = {"activation": [], "preactivation": []}
        for p, q in zip(pairs["prototype"], pairs["partner"], strict=True):
            one = cells[[p]]
            edited = one.counts.tolil()
            edited[0, g] = counts[q, g]
            x = [model.activations(c, [site])[site] for c in (one, one.with_counts(edited.tocsr()))]
            for on, read in (
                ("activation", lambda x: float(dictionary.activations_of(x, latent)[0].detach())),
                ("preactivation", lambda x: float(dictionary.preactivations(x)[0, number].detach())),
            ):
                effects[on].append((read(x[0]) - read(x[1])) / read(x[0]))
        for on, expected in effects.items():
            found = swaps[(swaps["gene"] == gene) & (swaps["on"] == on)]["effect"].item()
            assert found == pytest.approx(np.mean(expected), rel=1e-3, abs=rounding)


def test_path_effects_are_complete_and_the_same_without_a_linear_front(fitted, monkeypatch):
    model, cells, store = fitted
    dictionary = dictionaries.fit("matryoshka", store.rows("z"), seed=0)
    codes = dictionary.encode(store.read("z")).to_csr().tocsc()
    concepts = np.flatnonzero(np.diff(codes.indptr) >= 40)[:3]
    how = replace(SMALL, methods=("path",), path_on=("activation", "preactivation"))
    fast = attribute(model, cells, "z", dictionary, codes, store, concepts, config=how)
    monkeypatch.setattr(ScviModel, "linear_front", lambda self, site: None)
    plain = attribute(model, cells, "z", dictionary, codes, store, concepts, config=how)
    pd.testing.assert_frame_equal(fast.genes.drop(columns="q"), plain.genes.drop(columns="q"), rtol=1e-3, atol=1e-5)
    assert fast.gaps.loc[fast.gaps["kind"] == "real", "median"].max() < 0.05
    total = fast.genes[fast.genes["on"] == "activation"].groupby("concept")["effect"].sum()
    share = fast.pairs[fast.pairs["kind"] == "real"].groupby("concept")["difference"].mean()
    np.testing.assert_allclose(total, share, rtol=0.05, atol=0.01)


def test_partners_that_match_in_batch(fitted):
    model, cells, store = fitted
    dictionary = dictionaries.fit("pca", store.rows("z"), seed=0)
    codes = dictionary.encode(store.read("z")).to_csr().tocsc()
    result = attribute(model, cells, "z", dictionary, codes, store, [0, 1], config=replace(SMALL, match=("batch",)))
    batch = cells.obs["batch"].astype(str).to_numpy()
    assert len(result.pairs)
    assert (batch[result.pairs["prototype"]] == batch[result.pairs["partner"]]).all()


def test_an_embedding_has_differential_expression_alone(fitted):
    _, cells, store = fitted
    embedded = type(cells)(cells.counts, cells.genes, cells.obs, {"X_emb": store.read("z").numpy()})
    model = EmbeddingModel.of(embedded)
    dictionary = dictionaries.fit("pca", store.rows("z"), seed=0)
    codes = dictionary.encode(store.read("z")).to_csr().tocsc()
    result = attribute(model, embedded, "X_emb", dictionary, codes, embedded.obsm["X_emb"], [0, 1])
    assert set(result.genes["method"]) == {"de"}
    assert len(result.notes) == 2
