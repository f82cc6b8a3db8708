import numpy as np
import pytest
import torch

from cellglass.errors import InputError
from cellglass.models.base import CellModel, Site


class Totals(CellModel):
    """The total of each cell's counts times two numbers: no linear front, nothing optional."""

    kind = "totals"

    def __init__(self, cells, factor=2.0):
        self.genes = cells.genes.index
        self.sites = {"total": Site("total", 2)}
        self.factor = factor

    def activations(self, cells, sites):
        total = torch.from_numpy(np.asarray(cells.counts.sum(axis=1), dtype=np.float32))
        return {name: torch.cat([total, self.factor * total], dim=1) for name in sites}

    def save(self, folder):
        folder.mkdir()
        (folder / "cfg.json").write_text(str(self.factor))


def test_a_change_moves_a_total_by_its_difference(cells):
    model = Totals(cells)
    cell, gene = np.array([3, 3, 7]), np.array([0, 4, 9])
    count = np.array([10, 0, 5], dtype=np.float32)
    dense = cells.counts.toarray()
    expected = dense[cell].sum(axis=1) + count - dense[cell, gene]
    found = model.perturbed_activations(cells, "total", cell, gene, count)
    np.testing.assert_allclose(found[:, 0].numpy(), expected)


def test_changes_of_cells_with_other_genes_are_refused(cells):
    one = np.array([0])
    with pytest.raises(InputError, match=r"model.align"):
        Totals(cells).perturbed_activations(cells.select_genes([1, 0]), "total", one, one, one)


def test_align_leaves_aligned_cells_and_reorders_others(cells):
    model = Totals(cells)
    assert model.align(cells) is cells
    shuffled = cells.select_genes(np.random.default_rng(0).permutation(cells.n_genes))
    back = model.align(shuffled)
    assert back.genes.index.equals(cells.genes.index)
    np.testing.assert_array_equal(back.counts.toarray(), cells.counts.toarray())


def test_batches_cover_all_cells_in_order(cells):
    parts = list(Totals(cells).batches(cells, size=16))
    assert [part.n_cells for part in parts] == [16, 16, 8]
    np.testing.assert_array_equal(np.vstack([part.counts.toarray() for part in parts]), cells.counts.toarray())


def test_what_a_model_cannot_do_says_so(cells):
    model = Totals(cells)
    assert model.posterior(cells, "total") is None
    assert model.linear_front("total") is None
    assert model.lacks("counterfactual", "total") is None
    assert model.lacks("path", "total") == "the totals model has no gradient with respect to counts, so no path effects"
    assert model.lacks("decode", "total") == "the totals model cannot decode expression from site 'total'"
    with pytest.raises(InputError, match="cannot decode"):
        model.decode("total", torch.zeros(1, 2), cells[:1])
    with pytest.raises(InputError, match="no gradient"):
        model.path_gradient("total", torch.zeros(1, 25), cells[:1])
    for ask in (model.site, lambda name: model.lacks("path", name)):
        with pytest.raises(InputError, match=r"no site 'z'; its sites are: total"):
            ask("z")


def test_what_a_model_overrides_it_can_do(cells):
    class More(Totals):
        def path_gradient(self, site, log_counts, cells):
            return torch.expm1(log_counts).sum(dim=1, keepdim=True)

        def decode(self, site, activations, cells):
            return activations

    assert More(cells).lacks("path", "total") is None
    assert More(cells).lacks("decode", "total") is None


def test_what_a_model_says_it_lacks_it_refuses_in_the_same_words(cells):
    class Less(Totals):
        def lacks(self, what, site):
            return f"no {what} of {site} today"

    one = np.array([0])
    for what, call in (
        ("counterfactual", lambda: Less(cells).perturbed_activations(cells, "total", one, one, one)),
        ("counterfactual", lambda: Less(cells).perturbed_activations_plain(cells, "total", one, one, one)),
        ("path", lambda: Less(cells).path_gradient("total", torch.zeros(1, 25), cells[:1])),
        ("decode", lambda: Less(cells).decode("total", torch.zeros(1, 2), cells[:1])),
    ):
        with pytest.raises(InputError, match=f"^no {what} of total today$"):
            call()


def test_a_fingerprint_follows_what_is_saved(cells):
    assert Totals(cells).fingerprint() == Totals(cells).fingerprint()
    assert Totals(cells).fingerprint() != Totals(cells, factor=3.0).fingerprint()


def test_a_model_without_a_loss_at_its_sites_says_so(cells):
    model = Totals(cells)
    with pytest.raises(InputError, match="the totals model has no loss that can be read from site 'total'"):
        model.reconstruction_loss("total", torch.zeros(40, 2), cells)
