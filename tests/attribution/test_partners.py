"""Matched partners against plain loops; what is matched for nothing is seldom suspect."""

import numpy as np
import pytest

from cellglass.attribution.gradients import path_effects
from cellglass.attribution.partners import FIRST, jaccard, partner_variance, suspect_partners
from cellglass.errors import InputError

HOW = {"prototypes": 6, "partners": 3, "steps": 8}


def _first_by_hand(toy, concept, prototypes, partners):
    pairs = [(p, cell) for p, cells in zip(prototypes, partners, strict=True) for cell in cells]
    left, right = np.array(pairs).T
    found = path_effects(toy.work(**HOW), left, right, np.full(len(pairs), concept), steps=8)
    sign = np.where(found.change.mean(axis=0) < 0, -1, 1)
    score = found.effects.mean(axis=0) * sign
    order = sorted(range(len(score)), key=lambda g: (-score[g], g))
    return [g for g in order[:FIRST] if score[g] > 0]


def _nearest_by_hand(toy, cell, allowed, k):
    far = np.square(toy.z.astype(np.float64) - toy.z[cell].astype(np.float64)).sum(axis=1)
    return [c for c in np.lexsort((np.arange(len(far)), far)) if allowed[c]][:k]


@pytest.mark.parametrize("concept", [0, 3])
def test_matched_partners_and_their_genes_are_those_of_plain_loops(toy, concept):
    table = suspect_partners(toy.work(**HOW), concept, ["batch", "depth"], draws=10).set_index("matching")
    assert list(table.index) == ["batch", "depth", "control"]
    activation = toy.codes[:, [concept]].toarray()[:, 0]
    prototypes = np.lexsort((np.arange(160), -activation))[:6]
    batch, off = toy.cells.obs["batch"].to_numpy(), activation == 0
    alike = [_nearest_by_hand(toy, p, off & (batch == batch[p]), 3) for p in prototypes]
    matched = set(_first_by_hand(toy, concept, prototypes, alike))
    lost, new = (set(filter(None, table.loc["batch", name].split(";"))) for name in ("lost", "new"))
    assert new <= {f"G{g}" for g in matched}
    usual = {f"G{g}" for g in matched} - new | lost
    assert table.loc["batch", "jaccard"] == pytest.approx(
        len({f"G{g}" for g in matched} & usual) / len({f"G{g}" for g in matched} | usual)
    )
    assert len(usual) <= FIRST
    assert table.loc["batch", "kept"] == 1

    depth = np.log(np.asarray(toy.cells.counts.sum(axis=1)).ravel())
    near = [_nearest_by_hand(toy, p, off, 15) for p in prototypes]
    deep = [sorted(cells, key=lambda c: abs(depth[c] - depth[p]))[:3] for p, cells in zip(prototypes, near)]  # noqa: B905
    genes = {f"G{g}" for g in _first_by_hand(toy, concept, prototypes, deep)}
    assert table.loc["depth", "jaccard"] == pytest.approx(len(genes & usual) / len(genes | usual))


def test_what_is_matched_for_nothing_is_seldom_suspect(toy):
    tables = [suspect_partners(toy.work(seed, **HOW), c, [], draws=20) for seed in range(4) for c in (0, 3, 4)]
    assert all(list(table["matching"]) == ["control"] for table in tables)
    assert sum(bool(table["suspect"].iloc[0]) for table in tables) <= 3


def test_a_column_of_one_value_changes_little(toy):
    toy.cells.obs["same"] = "a"
    table = suspect_partners(toy.work(**HOW), 0, ["same"], draws=20).set_index("matching")
    assert not table.loc["same", "suspect"]


def test_prototypes_without_a_match_are_counted(toy):
    toy.cells.obs["own"] = np.arange(160)
    table = suspect_partners(toy.work(**HOW), 0, ["own"], draws=3).set_index("matching")
    assert table.loc["own", "kept"] == 0
    assert table.loc["own", "jaccard"] == 0
    with pytest.raises(InputError, match="no obs column 'nothing'"):
        suspect_partners(toy.work(**HOW), 0, ["nothing"])


def test_a_concept_of_few_cells_has_no_rows(toy):
    column = toy.codes[:, [0]].tocoo()
    few = toy.codes.tolil()
    few[column.row[5:], 0] = 0
    toy.codes = few.tocsc()
    toy.codes.eliminate_zeros()
    assert not len(suspect_partners(toy.work(**HOW), 0, ["batch"]))


def test_the_variance_between_partners_is_that_of_plain_sums():
    rng = np.random.default_rng(0)
    effects, prototype = rng.normal(size=(12, 3)), np.repeat(np.arange(4), 3)
    shares = []
    for gene in effects.T:
        within = sum(((gene[prototype == p] - gene[prototype == p].mean()) ** 2).sum() for p in range(4))
        shares.append(within / ((gene - gene.mean()) ** 2).sum())
    assert partner_variance(effects, prototype) == pytest.approx(np.median(shares))
    assert partner_variance(prototype[:, None].astype(float), prototype) == 0
    assert np.isnan(partner_variance(np.ones((12, 2)), prototype))
    assert jaccard(np.array([1, 2, 3]), np.array([2, 3, 4, 5])) == 2 / 5
    assert jaccard(np.array([]), np.array([])) == 1
