import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.attribution import Work
from cellglass.attribution.pairs import at_real_distance, choose_pairs, choose_prototypes
from cellglass.cells.cells import Cells


def choose(toy, concepts, *, seed=0, **config):
    return choose_pairs(toy.work(seed, **config), concepts)


def test_real_partners_are_the_nearest_inactive_cells_each_of_two_prototypes_at_most(toy):
    dense = toy.codes.toarray()
    table = choose(toy, range(10), prototypes=4, partners=3).table
    assert len(table) > 100
    for concept, rows in table[table["kind"] == "real"].groupby("concept"):
        inactive, taken = np.flatnonzero(dense[:, concept] == 0), {}
        order = {
            p: inactive[np.argsort(((toy.z[inactive].astype(float) - toy.z[p]) ** 2).sum(axis=1), kind="stable")]
            for p in rows["prototype"].unique()
        }
        mine = {p: [] for p in order}
        for _ in range(3):
            for p, cells in order.items():
                mine[p].append(next(c for c in cells if c not in mine[p] and taken.get(c, 0) < 2))
                taken[mine[p][-1]] = taken.get(mine[p][-1], 0) + 1
        assert {p: mine_too["partner"].tolist() for p, mine_too in rows.groupby("prototype")} == mine


@pytest.mark.parametrize("null_kind", ["matched", "random"])
def test_prototypes_are_the_most_active_cells_and_null_partners_active_ones_besides(toy, null_kind):
    dense = toy.codes.toarray()
    pairs = choose(toy, range(10), prototypes=4, partners=3, null=null_kind)
    for concept, rows in pairs.table.groupby("concept"):
        prototypes = rows["prototype"].unique()
        assert prototypes.tolist() == np.argsort(-dense[:, concept], kind="stable")[:4].tolist()
        null = rows[rows["kind"] == "null"]
        assert (dense[null["partner"], concept] > 0).all()
        assert not null["partner"].isin(prototypes).any()
        assert not null.duplicated(["prototype", "partner"]).any()
        assert null.groupby("prototype").size().eq(3).all()


def test_null_partners_are_cells_with_the_concept_as_far_and_as_deep_as_the_real_ones(toy):
    dense, depth = toy.codes.toarray(), np.log(toy.cells.counts.sum(axis=1).A1)
    table = choose(toy, range(10), prototypes=2, partners=1).table
    by = table.set_index(["kind", "concept", "prototype"])["partner"]
    real, null = by["real"], by["null"]
    for (concept, prototype), mine in null.items():
        its = real[concept, prototype]
        prototypes = table.loc[table["concept"] == concept, "prototype"]
        value = dense[:, concept]
        others = np.setdiff1d(np.flatnonzero(value >= np.quantile(value[value > 0], 0.99) / 2), prototypes)
        if len(others) < 2:  # twice as many as partners
            others = np.setdiff1d(np.flatnonzero(value > 0), prototypes)
        far = np.log(np.maximum(np.linalg.norm(toy.z.astype(float) - toy.z[prototype], axis=1), 1e-9))
        cost = (far[others] - far[its]) ** 2 + (depth[others] - depth[its]) ** 2
        assert cost[others == mine] == pytest.approx(cost.min(), abs=1e-4)


def test_the_report_says_how_far_real_and_null_partners_are(toy):
    pairs = choose(toy, range(10), prototypes=4, partners=3)
    far = np.linalg.norm(toy.z[pairs.table["prototype"]] - toy.z[pairs.table["partner"]], axis=1)
    for concept, row in pairs.concepts.set_index("concept").iterrows():
        for kind in ("real", "null"):
            mine = (pairs.table["concept"] == concept) & (pairs.table["kind"] == kind)
            assert row[f"{kind}_distance"] == pytest.approx(far[mine].mean(), rel=1e-5, nan_ok=True)


def test_partners_match_in_the_columns_asked_for(toy):
    batch = toy.cells.obs["batch"].to_numpy()
    table = choose(toy, range(10), match=("batch",), partners=4).table
    assert len(table)
    assert (batch[table["prototype"]] == batch[table["partner"]]).all()
    free = choose(toy, range(10), partners=4).table
    assert (batch[free["prototype"]] != batch[free["partner"]]).any()


def test_what_one_concept_gets_depends_on_no_other_and_on_the_seed(toy):
    together = choose(toy, range(10), null="random").table
    alone = pd.concat([choose(toy, [c], null="random").table for c in range(10)], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone)
    other = choose(toy, range(10), null="random", seed=1).table
    assert not together.equals(other)
    real = together["kind"] == "real"
    pd.testing.assert_frame_equal(together[real], other[other["kind"] == "real"])


def test_concepts_without_enough_cells_are_reported():
    n = 40
    codes = np.zeros((n, 4), dtype=np.float32)
    codes[:3, 0] = 1.0  # too few
    codes[:, 1] = 1.0  # nobody is inactive
    codes[:8, 2] = np.arange(8, 0, -1)  # four prototypes at most
    cells = Cells(
        sp.csr_matrix((n, 1), dtype=np.float32), pd.DataFrame({"symbol": ["A"]}), pd.DataFrame(index=range(n))
    )
    z = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    found = choose_pairs(Work(None, cells, "z", None, sp.csc_matrix(codes), z), range(4))
    notes = found.concepts.set_index("concept")["note"].to_dict()
    assert notes == {
        0: "only 3 active cells",
        1: "no inactive cells to take partners from",
        2: "",
        3: "only 0 active cells",
    }
    assert set(found.table["concept"]) == {2}
    row = found.concepts.set_index("concept").loc[2]
    assert (row["n_active"], row["n_prototypes"], row["n_real"], row["n_null"]) == (8, 4, 20, 20)
    null = found.table[found.table["kind"] == "null"]
    # Four other cells are active; the fifth null partner is another prototype, for want of a better one.
    assert null.groupby("prototype")["partner"].agg(lambda x: (x < 4).sum()).eq(1).all()
    assert (null["prototype"] != null["partner"]).all()


def test_prototypes_by_quantiles_lie_evenly_over_ranks():
    value = np.random.default_rng(0).permutation(100).astype(np.float32) + 1
    position = np.arange(100) + 1000
    top = choose_prototypes(value, position, 5, "top")
    assert value[top - 1000].tolist() == [100, 99, 98, 97, 96]
    even = choose_prototypes(value, position, 5, "quantiles")
    assert value[even - 1000].tolist() == [90, 70, 50, 30, 10]
    tied = choose_prototypes(np.ones(6, dtype=np.float32), np.array([9, 4, 7, 1, 3, 2]), 3, "top")
    assert tied.tolist() == [1, 2, 3]


def test_settings_reach_the_choice(toy):
    few = choose(toy, [0], max_candidates=40, seed=3)
    assert set(few.table.loc[few.table["kind"] == "real", "partner"]) <= set(toy.work(3, max_candidates=40).pool.rows)
    dense = toy.codes[:, 0].toarray().ravel()
    even = choose(toy, [0], choose="quantiles", prototypes=5).table["prototype"].unique()
    active = np.flatnonzero(dense > 0)
    assert even.tolist() == choose_prototypes(dense[active], active, 5, "quantiles").tolist()


def test_effects_of_null_pairs_that_lie_nearer_are_stretched_to_the_real_distance(toy):
    pairs = choose(toy, [0], prototypes=4, partners=3)
    table, work = pairs.table, toy.work()
    effects = np.ones((len(table), 2), dtype=np.float32)
    null = (table["kind"] == "null").to_numpy()
    far, near = pairs.concepts.loc[0, ["real_distance", "null_distance"]]
    swapped = table.assign(kind=np.where(null, "real", "null"))
    for given, kinds, ratio in ((table, null, far / near), (swapped, ~null, near / far)):
        found = at_real_distance(work, given, effects)
        assert (found[~kinds] == 1).all()
        np.testing.assert_allclose(found[kinds], max(1.0, ratio), rtol=1e-5)
    assert at_real_distance(work, table[~null], effects[~null]) is not None
