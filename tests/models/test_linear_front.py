import numpy as np
import pytest
import torch

from cellglass.models.base import CellModel, Site
from cellglass.models.linear_front import CHUNK, LinearFront, Swapper


class Toy(CellModel):
    """tanh(W log1p(x) + b): the smallest model that has a linear front."""

    kind = "toy"

    def __init__(self, cells):
        generator = torch.Generator().manual_seed(0)
        self.genes = cells.genes.index
        self.sites = {"out": Site("out", 6)}
        self.weight = torch.randn(6, cells.n_genes, generator=generator, dtype=torch.float64)

    def activations(self, cells, sites):
        x = torch.from_numpy(cells.counts.toarray()).double().log1p()
        return {"out": torch.tanh(x @ self.weight.T + 0.1)}

    def save(self, folder):
        raise NotImplementedError

    def linear_front(self, site):
        def front(cells):
            return torch.from_numpy(cells.counts.toarray()).double().log1p() @ self.weight.T + 0.1

        return LinearFront(self.weight, front, torch.tanh)


def changes(cells, n, seed=0):
    rng = np.random.default_rng(seed)
    cell, gene = rng.integers(0, cells.n_cells, n), rng.integers(0, cells.n_genes, n)
    return cell, gene, rng.integers(0, 8, n).astype(np.float32)


@pytest.mark.parametrize("n", [1, 7, CHUNK + 3])
def test_any_model_with_a_linear_front_gets_exact_changes(cells, n):
    model = Toy(cells)
    job = changes(cells, n)
    fast = model.perturbed_activations(cells, "out", *job)
    plain = model.perturbed_activations_plain(cells, "out", *job)
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)


def test_any_model_with_a_linear_front_has_a_gradient(cells):
    model = Toy(cells)
    assert model.lacks("path", "out") is None
    x = torch.from_numpy(cells[:5].counts.toarray()).log1p()
    x[2, 3] += 0.4
    x.requires_grad_()
    found = model.path_gradient("out", x, cells[:5])
    plain = torch.tanh(x.double() @ model.weight.T + 0.1)
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-6)
    slopes = (torch.autograd.grad(y[:, 1].sum(), x)[0] for y in (found, plain))
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=1e-6)


def test_no_change_gives_the_cell_itself(cells):
    model = Toy(cells)
    cell, gene, _ = changes(cells, 30)
    same = cells.counts.toarray()[cell, gene]
    found = model.perturbed_activations(cells, "out", cell, gene, same)
    torch.testing.assert_close(found, model.activations(cells, ["out"])["out"][cell])


def test_no_changes_give_an_empty_matrix(cells):
    nothing = np.zeros(0, dtype=np.int64)
    found = Toy(cells).perturbed_activations(cells, "out", nothing, nothing, np.zeros(0, dtype=np.float32))
    assert found.shape == (0, 6)


def test_one_swapper_serves_many_sweeps(cells):
    model = Toy(cells)
    swapper = Swapper(model.linear_front("out"), cells)
    for seed in range(3):
        job = changes(cells, 20, seed)
        torch.testing.assert_close(swapper(*job), model.perturbed_activations_plain(cells, "out", *job))


def test_the_straight_path_of_the_notes_ends_at_both_cells(cells):
    front = Toy(cells).linear_front("out")
    end, start = cells[:5], cells[5:10]
    step = torch.from_numpy(np.log1p(end.counts.toarray()) - np.log1p(start.counts.toarray())).double()
    torch.testing.assert_close(front.front(end) - step @ front.weight.T, front.front(start), rtol=1e-6, atol=1e-6)
