"""A capture holds the model's activations; interrupted anywhere, the same call gives the identical store."""

import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.activations import capture
from cellglass.activations.capture import sample_tokens
from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.files import sha256
from cellglass.models.kind import FitConfig
from cellglass.models.registry import fit


def run(model, cells, folder, **options):
    return capture(model, cells, ["hidden.0", "z"], folder, batch_size=10, shard_bytes=1000, **options)


def test_means_and_sds_are_the_models(make_model, cells, tmp_path) -> None:
    model = make_model()
    store = run(model, cells, tmp_path)
    mean, sd = model.posterior(cells, "z")
    assert torch.equal(store.read("z"), mean)
    assert torch.equal(store.sd("z"), sd)
    assert torch.equal(store.read("hidden.0"), model.activations(cells, ["hidden.0"])["hidden.0"])
    assert not store.sites["hidden.0"].spread


@pytest.mark.parametrize("stop_after", range(0, 11, 2))
def test_an_interrupted_capture_gives_the_identical_store(make_model, cells, tmp_path, stop_after: int) -> None:
    run(make_model(), cells, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(make_model(stop_after), cells, tmp_path / "killed")
    model = make_model()
    run(model, cells, tmp_path / "killed")
    assert sha256(tmp_path / "killed") == sha256(tmp_path / "whole")
    assert model.runs <= 11 - stop_after + 4  # the batches of at most one shard are run again


def test_a_complete_store_is_opened_as_it_is(make_model, cells, tmp_path) -> None:
    run(make_model(), cells, tmp_path)
    model = make_model(stop_after=0)
    assert run(model, cells, tmp_path).n_cells == 103


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_short_numbers_are_close(make_model, cells, tmp_path, dtype, tolerance: float) -> None:
    store = run(make_model(), cells, tmp_path, dtype=dtype)
    truth = make_model().activations(cells, ["z"])["z"]
    assert torch.allclose(store.read("z"), truth, rtol=tolerance, atol=1e-4)
    assert store.sites["z"].dtype == dtype


def test_genes_are_aligned_to_the_model(make_model, cells, tmp_path) -> None:
    turned = cells.select_genes(np.arange(cells.n_genes)[::-1])
    store = run(make_model(), turned, tmp_path)
    assert torch.equal(store.read("z"), make_model().activations(cells, ["z"])["z"])


def test_without_posterior_no_sd_is_kept(make_model, cells, tmp_path) -> None:
    assert not run(make_model(), cells, tmp_path, posterior=False).rows("z").has_sd


def test_progress_is_heard(make_model, cells, tmp_path) -> None:
    heard = []
    run(make_model(), cells, tmp_path, progress=lambda *call: heard.append(call))
    assert heard[-1] == ("capture activations", 103, 103)


def test_wrong_use_is_named(make_model, cells, tmp_path) -> None:
    model = make_model()
    for sites, message in ((["q"], "no site 'q'"), ([], "at least one"), (["z", "z"], "once")):
        with pytest.raises(InputError, match=message):
            capture(model, cells, sites, tmp_path / "s")
    with pytest.raises(InputError, match="tokens_per_cell is 0; it must be at least 1"):
        capture(model, cells, ["tokens"], tmp_path / "s", tokens_per_cell=0)
    with pytest.raises(InputError, match="no cells"):
        capture(model, cells[:0], ["z"], tmp_path / "s")
    assert not (tmp_path / "s").exists()
    run(model, cells, tmp_path / "s", fingerprint="weights 1")
    with pytest.raises(InputError, match="another capture"):
        run(model, cells, tmp_path / "s", fingerprint="weights 2")
    with pytest.raises(InputError, match="another capture"):
        run(model, cells[:50], tmp_path / "s", fingerprint="weights 1")


def test_rows_of_tokens_lie_beside_rows_of_cells(make_model, cells, tmp_path) -> None:
    model = make_model()
    store = capture(model, cells, ["tokens", "z"], tmp_path, batch_size=10, shard_bytes=1000)
    rows, wanted = store.rows("tokens"), model.token_activations(cells, ["tokens"])["tokens"]
    assert rows.granularity == "token"
    assert torch.equal(rows.read(rows.positions(None)), wanted[0])
    assert (rows.cells() == wanted.cell).all()
    assert (rows.genes() == wanted.gene).all()
    assert torch.equal(store.read("z"), model.posterior(cells, "z")[0])


def test_a_sample_of_tokens_depends_on_the_cell_alone(make_model, cells, tmp_path) -> None:
    model, most = make_model(), 4
    store = capture(model, cells, ["tokens"], tmp_path / "a", batch_size=10, tokens_per_cell=most, seed=1)
    kept = {
        (cells.obs.index[c], g) for c, g in zip(store.rows("tokens").cells(), store.rows("tokens").genes(), strict=True)
    }
    counted = np.diff(cells.counts.indptr)
    assert (
        np.bincount(store.rows("tokens").cells(), minlength=cells.n_cells).tolist()
        == np.minimum(counted, most).tolist()
    )
    order = np.random.default_rng(0).permutation(cells.n_cells)
    other = capture(model, cells[order], ["tokens"], tmp_path / "b", batch_size=7, tokens_per_cell=most, seed=1)
    names = cells.obs.index[order]
    again = {(names[c], g) for c, g in zip(other.rows("tokens").cells(), other.rows("tokens").genes(), strict=True)}
    assert kept == again
    third = capture(model, cells, ["tokens"], tmp_path / "c", tokens_per_cell=most, seed=2)
    assert kept != {
        (cells.obs.index[c], g) for c, g in zip(third.rows("tokens").cells(), third.rows("tokens").genes(), strict=True)
    }


def test_a_sample_of_tokens_is_uniform(cells) -> None:
    gene = np.tile(np.arange(40), 2000)
    cell = np.repeat(np.arange(2000), 40)
    many = Cells(
        sp.csr_matrix((2000, 40), dtype=np.float32),
        pd.DataFrame({"symbol": [f"g{i}" for i in range(40)]}, index=[f"g{i}" for i in range(40)]),
        pd.DataFrame(index=[f"c{i}" for i in range(2000)]),
    )
    chosen = sample_tokens(cell, gene, many, 10, seed=0)
    assert (np.bincount(cell[chosen]) == 10).all()
    counts = np.bincount(gene[chosen], minlength=40)
    sd = (2000 * 0.25 * 0.75) ** 0.5
    assert abs(counts - 500).max() < 4.5 * sd
    together = sp.csr_matrix((np.ones(len(chosen)), (cell[chosen], gene[chosen])), shape=(2000, 40))
    pairs = (together.T @ together).toarray()[np.triu_indices(40, 1)]
    expected = 2000 * 10 * 9 / (40 * 39)
    assert abs(pairs - expected).max() < 5 * expected**0.5


@pytest.mark.parametrize("most", [None, 2])
def test_rows_of_genes_that_are_read_in_pieces_are_the_same(token_model, cells, tmp_path, monkeypatch, most) -> None:
    sites = ["layers.0.resid", "cell"]
    whole = capture(token_model, cells, sites, tmp_path / "whole", tokens_per_cell=most)
    monkeypatch.setattr(sys.modules["cellglass.activations.capture"], "_FLOATS", 50)
    pieces = capture(token_model, cells, sites, tmp_path / "pieces", tokens_per_cell=most)
    for site in sites:
        assert torch.allclose(whole.read(site), pieces.read(site), atol=1e-6)
        assert (whole.rows(site).cells() == pieces.rows(site).cells()).all()
    assert (whole.rows(sites[0]).genes() == pieces.rows(sites[0]).genes()).all()


def test_a_sample_is_read_as_if_all_rows_had_been(token_model, cells, tmp_path) -> None:
    site, most, seed = "layers.1.mlp.out", 3, 5
    store = capture(token_model, cells, [site, "cell"], tmp_path / "s", tokens_per_cell=most, seed=seed, batch_size=20)
    everything = token_model.token_activations(cells, [site])[site]
    chosen = sample_tokens(everything.cell, everything.gene, cells, most, seed)
    rows = store.rows(site)
    assert (rows.cells() == everything.cell[chosen]).all()
    assert (rows.genes() == everything.gene[chosen]).all()
    assert torch.allclose(rows.read(rows.positions(None)), everything.values[torch.from_numpy(chosen)], atol=1e-6)
    assert torch.allclose(store.read("cell"), token_model.activations(cells, ["cell"])["cell"], atol=1e-6)


@pytest.mark.parametrize("rows", ["last", "mean"])
def test_a_sampled_gene_of_several_tokens_has_all_of_them(rows, cells, tmp_path) -> None:
    model = fit("cell2sentence", cells, FitConfig(layers=1, width=32, epochs=0)).with_settings(rows=rows)
    assert model.prepare(cells).lengths.sum() > cells.counts.nnz  # names are several tokens
    site = "layers.0.mlp.out"
    store = capture(model, cells, [site], tmp_path / "s", tokens_per_cell=2)
    everything = model.token_activations(cells, [site])[site]
    chosen = sample_tokens(everything.cell, everything.gene, cells, 2, 0)
    assert (store.rows(site).genes() == everything.gene[chosen]).all()
    assert torch.allclose(store.read(site), everything.values[torch.from_numpy(chosen)], atol=1e-6)
