import logging

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.attribution import attribute
from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.base import CellModel

SMALL = {"n_prototypes": 6, "n_partners": 3}


def run(toy, concepts=None, **options):
    parts = (toy.model, toy.cells, "z", toy.dictionary, toy.codes, toy.z)
    return attribute(*parts, concepts, **{**SMALL, **options})


def test_result_does_not_depend_on_how_concepts_are_grouped(toy):
    whole = run(toy, range(9))
    pieces = [run(toy, block) for block in ([0], [1, 2, 3], [4, 5, 6, 7, 8])]
    for name in ("pairs", "concepts", "gaps", "genes"):
        joined = pd.concat([getattr(piece, name) for piece in pieces], ignore_index=True)
        key = [c for c in ("method", "on", "concept", "gene", "prototype", "partner", "kind") if c in joined]
        sides = [frame.sort_values(key, ignore_index=True) for frame in (joined, getattr(whole, name))]
        # Effects of 1e-7 and less are rounding, and so are their q-values.
        pd.testing.assert_frame_equal(*(s.drop(columns="q", errors="ignore") for s in sides), rtol=1e-3, atol=1e-6)
    assert whole.concepts["concept"].tolist() == list(range(9))


def test_same_seed_same_result_bit_for_bit(toy):
    first, again, other = (run(toy, [0, 2, 9], seed=seed, null="random") for seed in (5, 5, 6))
    pd.testing.assert_frame_equal(first.genes, again.genes, check_exact=True)
    pd.testing.assert_frame_equal(first.pairs, again.pairs, check_exact=True)
    assert not first.pairs.equals(other.pairs)


def test_columns_methods_and_order_of_concepts(toy):
    heard = []
    result = run(toy, [7, 0, 0], progress=lambda *said: heard.append(said))
    assert heard[-1] == ("attribution", 2, 2)
    assert list(result.genes) == ["method", "on", "concept", "gene", "effect", "se", "score", "q", "n"]
    combinations = set(zip(result.genes["method"], result.genes["on"], strict=True))
    assert combinations == {
        ("swap", "activation"), ("swap", "preactivation"), ("knockout", "activation"), ("knockout", "preactivation"),
        ("path", "activation"), ("de", "expression"),
    }  # fmt: skip
    assert not result.genes.duplicated(["method", "on", "concept", "gene"]).any()
    assert not result.genes[["effect", "score"]].isna().any(axis=None)
    assert set(result.genes["concept"]) <= {0, 7}
    assert result.notes == ()


def test_scores_as_a_dense_table(toy):
    result = run(toy, [1, 2], methods=("path",))
    genes = toy.cells.genes.index[::-1]
    dense = result.effects("path", "activation", genes)
    rows = result.genes[(result.genes["method"] == "path")]
    assert float(dense.to_numpy().sum()) == pytest.approx(float(rows["score"].sum()), rel=1e-4)
    one = rows.iloc[5]
    assert dense.loc[one["concept"], one["gene"]] == one["score"]


def test_a_model_without_counterfactuals_gives_differential_expression_and_says_so(toy, caplog):
    def no_counts(*args):
        raise InputError("the toy model is an embedding and cannot be run on changed counts")

    toy.model.fast = False
    toy.model.perturbed_activations = no_counts
    toy.model.path_gradient = lambda *args: CellModel.path_gradient(toy.model, *args)
    with caplog.at_level(logging.WARNING):
        result = run(toy, [0, 1])
    assert set(result.genes["method"]) == {"de"}
    assert len(result.notes) == 2
    assert "no swaps and no knock-outs: the toy model is an embedding" in caplog.text
    assert result.pairs["gap"].isna().all()
    assert len(result.gaps) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"methods": ("swop",)}, "no method 'swop'; there are: swap, knockout, path, de"),
        ({"on": ("latent",)}, "no readout 'latent'"),
        ({"concepts": [10]}, "0..9"),
        ({"concepts": [-1]}, "0..9"),
        ({"match": ("donor",)}, "no obs column 'donor'"),
        ({"steps": 0}, "steps is 0"),
        ({"prototypes": "best"}, "'top' or 'quantiles'"),
        ({"null": "far"}, "'nearest' or 'random'"),
    ],
)
def test_wrong_arguments_are_refused(toy, options, says):
    with pytest.raises(InputError, match=says):
        run(toy, **options)


def test_wrong_inputs_are_refused(toy):
    with pytest.raises(InputError, match="its sites are: z"):
        attribute(toy.model, toy.cells, "y", toy.dictionary, toy.codes, toy.z)
    with pytest.raises(InputError, match="give csc"):
        attribute(toy.model, toy.cells, "z", toy.dictionary, toy.codes.tocsr(), toy.z)
    with pytest.raises(InputError, match="160 cells and 10 latents"):
        attribute(toy.model, toy.cells, "z", toy.dictionary, toy.codes[:9].tocsc(), toy.z)


def test_planted_genes_are_recovered(toy):
    """The first latent reads five genes up and two down through a hidden unit of its own; other genes feed others."""
    rng = np.random.default_rng(11)
    n, n_genes, up, down = 400, 60, [4, 9, 22, 31, 50], [13, 40]
    group = rng.random(n) < 0.4
    rate = np.full((n, n_genes), 1.0)
    rate[:, up] += 6.0 * group[:, None]
    rate[:, down] += 4.0 * ~group[:, None]
    counts = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
    genes = pd.DataFrame({"symbol": [f"G{i}" for i in range(n_genes)]}, index=[f"g{i}" for i in range(n_genes)])
    cells = Cells(counts, genes, pd.DataFrame({"batch": np.zeros(n, dtype=int)}, index=[f"c{i}" for i in range(n)]))
    weight = torch.zeros(8, n_genes)
    weight[0, up], weight[0, down] = 0.5, -0.4
    others = [g for g in range(n_genes) if g not in up + down]
    weight[1:, others] = torch.from_numpy(rng.normal(0, 0.3, (7, len(others))).astype(np.float32))
    toy.model.weight, toy.model.out, toy.model.shift = weight, torch.eye(8), torch.zeros(1, 8)
    toy.model.sites["z"] = type(toy.model.sites["z"])("z", 8)
    toy.model.genes = genes.index
    toy.dictionary.weight = torch.eye(8)
    toy.dictionary.bias = torch.full((8,), -1.2)
    toy.dictionary.n_latents, toy.dictionary.k = 8, 8
    z = toy.model.activations(cells, ["z"])["z"]
    codes = toy.dictionary.encode(z).to_csr().tocsc()
    result = attribute(toy.model, cells, "z", toy.dictionary, codes, z, [0], on=("preactivation",))
    effects = {
        method: result.effects(method, on, genes.index).loc[0]
        for method, on in (("swap", "preactivation"), ("knockout", "preactivation"), ("path", "activation"))
    }
    for method, effect in effects.items():
        assert set(effect.abs().nlargest(7).index) == {f"g{i}" for i in up + down}, method
        assert (effect.iloc[others].abs() < 1e-6).all(), method
    # A gene that holds the concept down: to take it away adds activation, to bring it from a partner costs some.
    assert (effects["knockout"].iloc[down] < 0).all()
    assert (effects["swap"].iloc[down] < 0).all()
    assert (effects["path"].iloc[down] < 0).all()
    rows = result.genes[(result.genes["method"] == "swap")].set_index("gene")
    assert (rows.loc[[f"g{i}" for i in up], "q"] < 0.01).all()
    assert (rows.loc[rows.index.isin([f"g{i}" for i in others]), "q"] > 0.2).all()
    path = result.genes.loc[result.genes["method"] == "path", "effect"]
    real = result.pairs[result.pairs["kind"] == "real"]
    assert path.sum() == pytest.approx(real["difference"].mean(), rel=0.05)
    assert real["difference"].mean() == pytest.approx(1.0, rel=0.05)  # a partner may read a little at that depth
