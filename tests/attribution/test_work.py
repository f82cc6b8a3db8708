"""What methods are given: cells of a concept, groups, the plan, and what is kept from block to block."""

import subprocess
import sys

import numpy as np
import pytest

from cellglass.errors import InputError


def test_groups_treat_missing_values_as_a_value(toy):
    toy.cells.obs["donor"] = [None, "a"] * (toy.cells.n_cells // 2)
    groups = toy.work(match=("batch", "donor")).groups
    keys = list(zip(toy.cells.obs["batch"], toy.cells.obs["donor"].isna(), strict=True))
    for key in set(keys):
        assert len(set(groups[[k == key for k in keys]])) == 1
    assert len(set(groups)) == 4
    assert set(toy.work().groups) == {0}


def test_a_column_that_is_not_there_is_named(toy):
    with pytest.raises(InputError, match="nowhere"):
        _ = toy.work(match=("nowhere",)).groups


def names(work):
    return [method.name for method in work.plan.methods]


def test_counterfactuals_come_first_and_what_the_model_lacks_is_noted_once(toy, caplog):
    assert names(toy.work()) == ["swap", "knockout", "path", "de"]
    assert names(toy.work(methods=("de", "path", "knockout"))) == ["knockout", "path", "de"]
    assert toy.work().plan.notes == ()
    toy.model.lacks = lambda what, site: f"no {what} at {site}"
    work = toy.work()
    assert names(work) == ["de"]
    assert work.plan.notes == (
        "no swaps and no knock-outs: no counterfactual at z",
        "no path effects: no path at z",
    )
    assert [record.getMessage() for record in caplog.records] == [f"attribution: {note}" for note in work.plan.notes]
    assert toy.work(methods=("knockout", "de")).plan.notes == work.plan.notes[:1]


def test_the_cells_of_a_concept_are_those_above_zero(toy):
    toy.codes.data[0] = 0  # stored, and no activation
    dense = toy.codes.toarray()
    for concept in (0, 3):
        cell, value = toy.work().active(concept)
        assert cell.tolist() == np.flatnonzero(dense[:, concept] > 0).tolist()
        np.testing.assert_array_equal(value, dense[cell, concept])


def test_change_is_the_mean_difference_in_log_counts(toy):
    block = toy.block((3,))
    counts = np.log1p(toy.cells.counts.toarray())
    wanted = (counts[block.pairs["prototype"]] - counts[block.pairs["partner"]]).mean(axis=0)
    np.testing.assert_allclose(block.work.change(block.pairs), wanted, rtol=1e-5, atol=1e-6)
    assert not block.work.change(block.pairs[:0]).any()


def test_what_is_made_once_is_kept(toy):
    work, made = toy.work(), []
    for _ in range(3):
        assert work.once("mine", lambda: made.append(1) or 7) == 7
    assert made == [1]
    assert work.pool is work.pool


def test_a_block_gives_each_concept_its_pairs(toy):
    block = toy.block((0, 3))
    seen = dict(block.each())
    assert list(seen) == [0, 3]
    for concept, pairs in seen.items():
        assert pairs.equals(block.pairs[block.pairs["concept"] == concept])


def test_work_and_the_entries_of_methods_need_no_torch() -> None:
    code = (
        "import sys, cellglass.attribution.work; from cellglass.attribution import METHODS; "
        "assert [m.name for m in METHODS.values()]; print({'torch', 'scanpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
