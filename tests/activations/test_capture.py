"""A capture holds the model's activations; interrupted anywhere, the same call gives the identical store."""

import numpy as np
import pytest
import torch

from cellglass.activations import capture
from cellglass.errors import InputError
from cellglass.files import sha256


def run(model, cells, folder, **options):
    return capture(model, cells, ["hidden.0", "z"], folder, batch_size=10, shard_bytes=1000, **options)


def test_means_and_spreads_are_the_models(make_model, cells, tmp_path) -> None:
    model = make_model()
    store = run(model, cells, tmp_path)
    mean, spread = model.posterior(cells, "z")
    assert torch.equal(store.read("z"), mean)
    assert torch.equal(store.spread("z"), spread)
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


def test_without_posterior_no_spread_is_kept(make_model, cells, tmp_path) -> None:
    assert not run(make_model(), cells, tmp_path, posterior=False).rows("z").has_spread


def test_progress_is_heard(make_model, cells, tmp_path) -> None:
    heard = []
    run(make_model(), cells, tmp_path, progress=lambda *call: heard.append(call))
    assert heard[-1] == ("capture activations", 103, 103)


def test_wrong_use_is_named(make_model, cells, tmp_path) -> None:
    model = make_model()
    for sites, message in ((["q"], "no site 'q'"), ([], "at least one"), (["z", "z"], "once"), (["tokens"], "token")):
        with pytest.raises(InputError, match=message):
            capture(model, cells, sites, tmp_path / "s")
    with pytest.raises(InputError, match="no cells"):
        capture(model, cells[:0], ["z"], tmp_path / "s")
    assert not (tmp_path / "s").exists()
    run(model, cells, tmp_path / "s", fingerprint="weights 1")
    with pytest.raises(InputError, match="another capture"):
        run(model, cells, tmp_path / "s", fingerprint="weights 2")
    with pytest.raises(InputError, match="another capture"):
        run(model, cells[:50], tmp_path / "s", fingerprint="weights 1")
