import logging

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.attribution import METHODS, AttributionConfig, Method, attribute
from cellglass.attribution.gradients import log_counts
from cellglass.attribution.method import needs
from cellglass.attribution.run import attribute_concepts
from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.progress import silent

SMALL = {"prototypes": 6, "partners": 3}


def run(toy, concepts=None, *, seed=0, progress=silent, **config):
    parts = (toy.model, toy.cells, "z", toy.dictionary, toy.codes, toy.z)
    how = AttributionConfig(**{**SMALL, **config})
    return attribute(*parts, concepts, config=how, seed=seed, progress=progress)


def test_result_does_not_depend_on_how_concepts_are_grouped(toy):
    whole = run(toy, range(9))
    pieces = [run(toy, block) for block in ([0], [1, 2, 3], [4, 5, 6, 7, 8])]
    for name in ("pairs", "concepts", "gaps", "genes"):
        joined = pd.concat([getattr(piece, name) for piece in pieces], ignore_index=True)
        key = [c for c in ("method", "on", "concept", "gene", "prototype", "partner", "kind") if c in joined]
        sides = [frame.sort_values(key, ignore_index=True) for frame in (joined, getattr(whole, name))]
        # Effects of 1e-7 and less are rounding, and so are their q-values; a gap is a difference of two sums over a
        # third, which may be small, so that rounding of 1e-7 shows as 1e-5 in it.
        for column in ("gap",) if "gap" in sides[0] else ():
            left, right = (side[column].to_numpy(dtype=float) for side in sides)
            np.testing.assert_allclose(left, right, rtol=1e-2, atol=1e-4)
        compared = [side.drop(columns=["q", "gap"], errors="ignore") for side in sides]
        pd.testing.assert_frame_equal(*compared, rtol=1e-3, atol=1e-6)
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


def test_methods_may_be_left_out(toy):
    alone, whole = run(toy, [0, 3], methods=("knockout",), on=("activation",)), run(toy, [0, 3])
    assert set(alone.genes["method"]) == {"knockout"}
    assert alone.pairs["gap"].isna().all()
    same = whole.genes[(whole.genes["method"] == "knockout") & (whole.genes["on"] == "activation")]
    np.testing.assert_allclose(alone.genes["effect"], same["effect"], rtol=1e-4, atol=1e-6)


def test_work_may_be_used_again_for_other_concepts(toy):
    work = toy.work(**SMALL)
    for concepts in ([0, 1], [3]):
        pd.testing.assert_frame_equal(
            attribute_concepts(work, concepts).genes, run(toy, concepts).genes, check_exact=True
        )


def test_without_pairs_there_are_no_rows_but_of_differential_expression(toy):
    codes = toy.codes.tolil()
    codes[5:, 0] = 0
    codes[:5, 0] = 1
    toy.codes = codes.tocsc()
    result = run(toy, [0])
    assert set(result.genes["method"]) == {"de"}
    assert len(result.pairs) == len(result.gaps) == 0
    assert result.concepts["note"].tolist() == ["only 5 active cells"]
    nothing = run(toy, [0], methods=("swap", "knockout", "path"))
    assert nothing.genes.dtypes.to_dict() == result.genes.dtypes.to_dict()
    assert len(nothing.genes) == 0


def gradient_times_difference(block, on):
    """Return, for each gene, (x - x') df/dx at the prototype, as a share of f(x): the path in one step, at its end."""
    work, parts = block.work, []
    for concept, pairs in block.each():
        real = pairs[pairs["kind"] == "real"]
        prototype, partner = real["prototype"].to_numpy(), real["partner"].to_numpy()
        x, x0 = log_counts(work.cells, prototype, partner, work.config.match_depth)
        x.requires_grad_()
        read = work.dictionary.preactivations(work.model.path_gradient(work.site, x, work.cells[prototype]))[:, concept]
        slope = torch.autograd.grad(read.sum(), x)[0]
        effects = ((x - x0) * slope / read[:, None]).detach().numpy()
        mean, se = effects.mean(axis=0), effects.std(axis=0, ddof=1) / np.sqrt(len(effects))
        parts.append(
            pd.DataFrame({"concept": concept, "gene": work.genes, "effect": mean, "se": se, "q": np.nan, "score": mean})
        )
    return pd.concat(parts).assign(n=1)


def doubled(block):
    rows, edits = METHODS["knockout"].edits(block)
    counts = np.asarray(block.work.cells.counts[edits.cell, edits.gene], dtype=np.float32).ravel()
    return rows, edits._replace(counts=2 * counts)


def rows_of_doubled(block, on):
    parts = []
    for concept, _, effects, _, gene in block.changed["double"].each(on, block.work.cells.n_genes):
        genes = np.unique(gene)
        mean = effects.mean(axis=0)[genes]
        parts.append(
            pd.DataFrame({"concept": concept, "gene": block.work.genes[genes], "effect": mean, "score": -mean})
        )
    return pd.concat(parts).assign(se=np.nan, q=np.nan, n=6)


GRADIENT = Method(
    "slope",
    "Gradient x difference",
    "One gradient a pair.",
    ("activation",),
    gradient_times_difference,
    needs("path"),
)
DOUBLE = Method(
    "double", "Doubling", "One run a gene.", ("activation",), rows_of_doubled, needs("counterfactual"),
    counterfactual=True, edits=doubled,
)  # fmt: skip


@pytest.fixture
def methods_of_others(monkeypatch):
    for name, place in (("slope", "GRADIENT"), ("double", "DOUBLE")):
        monkeypatch.setitem(METHODS.built_in, name, f"{__name__}:{place}")


@pytest.mark.usefixtures("methods_of_others")
def test_a_method_of_another_package_runs_beside_ours(toy):
    whole = run(toy, [0, 3], methods=(*AttributionConfig().methods, "slope", "double"), path_on=("activation",))
    others = whole.genes["method"].isin(["slope", "double"])
    ours = run(toy, [0, 3])
    pd.testing.assert_frame_equal(whole.genes[~others].reset_index(drop=True), ours.genes, rtol=1e-4, atol=1e-6)
    assert whole.genes.dtypes.to_dict() == ours.genes.dtypes.to_dict()
    assert set(zip(whole.genes["method"][others], whole.genes["on"][others], strict=True)) == {
        ("slope", "activation"), ("double", "activation"),
    }  # fmt: skip
    # The toy model bends little between two cells: one gradient says about what the path does.
    effect = whole.genes.pivot_table(index=["concept", "gene"], columns="method", values="effect", aggfunc="first")
    both = effect[["path", "slope"]].dropna()
    assert np.corrcoef(both["path"], both["slope"])[0, 1] > 0.7


@pytest.mark.usefixtures("methods_of_others")
def test_edits_of_another_package_equal_cells_encoded_alone(toy):
    result = run(toy, [3], methods=("double", "knockout"))
    row = result.genes[result.genes["method"] == "double"].iloc[4]
    gene, effects = toy.cells.genes.index.get_loc(row["gene"]), []
    for p in result.pairs["prototype"].unique():
        counts = toy.cells.counts[[p]].tolil()
        counts[0, gene] *= 2
        before = toy.read(toy.cells.counts[[p]], p, 3, "activation")
        effects.append((before - toy.read(counts.tocsr(), p, 3, "activation")) / before)
    assert row["effect"] == pytest.approx(np.mean(effects), rel=1e-3, abs=1e-5)


@pytest.mark.usefixtures("methods_of_others")
def test_what_another_packages_method_needs_and_the_model_lacks_is_noted(toy):
    toy.model.lacks = lambda what, site: "no gradients today" if what == "path" else None
    result = run(toy, [3], methods=("slope", "double"))
    assert set(result.genes["method"]) == {"double"}
    assert result.notes == ("no Gradient x difference: no gradients today",)


def test_scores_as_a_dense_table(toy):
    result = run(toy, [1, 2], methods=("path",))
    genes = toy.cells.genes.index[::-1]
    dense = result.effects("path", "activation", genes)
    rows = result.genes[(result.genes["method"] == "path")]
    assert float(dense.to_numpy().sum()) == pytest.approx(float(rows["score"].sum()), rel=1e-4)
    one = rows.iloc[5]
    assert dense.loc[one["concept"], one["gene"]] == one["score"]


def test_a_model_without_counterfactuals_gives_differential_expression_and_says_so(toy, caplog):
    toy.model.lacks = lambda what, site: f"the toy model is an embedding and has no {what} at {site}"
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
        ({"methods": ("swop",)}, "no attribution method 'swop'; did you mean swap"),
        ({"on": ("latent",)}, "attribution.on has 'latent'"),
        ({"concepts": [10]}, "0..9"),
        ({"concepts": [-1]}, "0..9"),
        ({"match": ("donor",)}, "no obs column 'donor'"),
        ({"steps": 0}, "steps is 0"),
        ({"choose": "best"}, "top or quantiles"),
        ({"null": "far"}, "matched or random"),
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
    n, n_genes, up, down = 1500, 60, [4, 9, 22, 31, 50], [13, 40]
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
    config = AttributionConfig(prototypes=40, on=("preactivation",))
    result = attribute(toy.model, cells, "z", toy.dictionary, codes, z, [0], config=config)
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
    assert result.genes.loc[result.genes["method"] == "knockout", "q"].isna().all()
    path = result.genes.loc[result.genes["method"] == "path", "effect"]
    real = result.pairs[result.pairs["kind"] == "real"]
    assert path.sum() == pytest.approx(real["difference"].mean(), rel=0.05)
    assert real["difference"].mean() == pytest.approx(1.0, rel=0.1)  # a partner may read a little at that depth
