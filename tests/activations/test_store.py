"""A store reads what was captured, and notices what is missing, truncated or changed."""

import json

import numpy as np
import pytest
import torch

from cellglass.activations import Store, capture, open_store
from cellglass.errors import InputError


@pytest.fixture
def store(make_model, cells, tmp_path) -> Store:
    return capture(make_model(), cells, ["z", "hidden.0"], tmp_path / "store", batch_size=20, shard_bytes=1500)


def test_rows_in_any_order_and_batches_equal_the_models(store, make_model, cells) -> None:
    truth = make_model().activations(cells, ["z", "hidden.0"])
    rows = np.random.default_rng(0).integers(0, 103, 300)
    assert len(store.manifest.shards) > 2
    for site in ("z", "hidden.0"):
        assert torch.equal(store.read(site), truth[site])
        assert torch.equal(store.read(site, rows), truth[site][rows])
    batches = torch.cat(list(store.batches("hidden.0", batch_size=16, seed=1)))
    assert torch.equal(batches.sort(dim=0).values, truth["hidden.0"].sort(dim=0).values)
    assert (store.rows("z").cells(rows) == rows).all()


def test_a_store_is_read_as_the_same_batches_as_memory(store) -> None:
    from cellglass.activations import MemoryRows

    memory = MemoryRows(store.read("z"), store.sd("z"))
    options = {"batch_size": 16, "seed": 3, "epoch": 2, "draw": True}
    for a, b in zip(store.batches("z", **options), memory.batches(**options), strict=True):
        assert torch.equal(a, b)


def test_repr_says_what_is_in_it(store) -> None:
    assert "z: 103 x 4" in repr(store)


def test_unknown_site_and_missing_sd_are_named(store) -> None:
    with pytest.raises(InputError, match=r"its sites are: z, hidden\.0"):
        store.read("cell")
    with pytest.raises(InputError, match=r"hidden\.0"):
        store.sd("hidden.0")


def test_verify_names_a_changed_shard(store) -> None:
    store.verify()
    path = store.folder / "z" / "00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"z/00001\.safetensors: this shard is damaged"):
        open_store(store.folder).verify()


def test_opening_names_a_truncated_or_missing_or_other_shard(store) -> None:
    path = store.folder / "hidden.0" / "00000.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(InputError, match=r"hidden\.0/00000\.safetensors: this shard is truncated"):
        open_store(store.folder)
    path.write_bytes((store.folder / "z" / "00000.safetensors").read_bytes())
    with pytest.raises(InputError, match="does not hold what the manifest says"):
        open_store(store.folder)
    path.unlink()
    with pytest.raises(InputError, match="missing"):
        open_store(store.folder)


def test_an_unfinished_store_says_where_it_stopped(store) -> None:
    manifest = store.folder / "manifest.json"
    content = json.loads(manifest.read_text())
    content["complete"], content["shards"] = False, content["shards"][:1]
    manifest.write_text(json.dumps(content))
    with pytest.raises(InputError, match="stopped at cell 40 of 103"):
        open_store(store.folder)
