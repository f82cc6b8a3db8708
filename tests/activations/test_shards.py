"""A shard gives back what was written, for each number format, and a damaged one is named."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cellglass.activations.shards import DTYPES, Shard, write_shard
from cellglass.errors import InputError


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES.keys())
def test_mapped_rows_equal_those_that_safetensors_reads(tmp_path, dtype: torch.dtype) -> None:
    values = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    path = tmp_path / "a.safetensors"
    write_shard(path, {"activations": values, "cell": torch.arange(50, dtype=torch.int32)})
    rows = np.array([49, 3, 3, 0])
    shard = Shard(path)
    assert torch.equal(shard.take("activations", rows), load_file(path)["activations"][rows])
    assert shard.take("activations", rows).dtype == dtype
    assert shard.take("cell", slice(2, 5)).tolist() == [2, 3, 4]
    assert shard.shapes == {"activations": (50, 7), "cell": (50,)}


def test_a_shard_may_hold_no_rows(tmp_path) -> None:
    write_shard(tmp_path / "a", {"activations": torch.zeros(0, 3), "cell": torch.zeros(0, dtype=torch.int32)})
    assert Shard(tmp_path / "a").take("activations", np.array([], dtype=int)).shape == (0, 3)


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_truncated_shard_is_named(tmp_path, keep: int) -> None:
    path = tmp_path / "00003.safetensors"
    write_shard(path, {"activations": torch.zeros(20, 3)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"00003\.safetensors: this shard is truncated or damaged"):
        Shard(path)


def test_what_is_no_shard_or_missing_is_named(tmp_path) -> None:
    (tmp_path / "text").write_text("this is some text that is no safetensors file")
    (tmp_path / "json").write_bytes((2).to_bytes(8, "little") + b"[]")
    for name in ("text", "json"):
        with pytest.raises(InputError, match="truncated or damaged"):
            Shard(tmp_path / name)
    with pytest.raises(InputError, match="missing"):
        Shard(tmp_path / "none")
