"""Files of weights as other programs leave them: the same tensors come out, or a line says what the file is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cellglass.errors import InputError
from cellglass.models.weights import leave_out, read_sharded, read_weights, refuse_pointer, without_wrapper

PLAIN = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.n": torch.tensor(7)}


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == PLAIN.keys() and all(torch.equal(found[name], PLAIN[name]) for name in PLAIN)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_of_any_width_are_float32_and_numbers_stay(tmp_path: Path, kind: torch.dtype) -> None:
    narrow = {name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in PLAIN.items()}
    torch.save(narrow, tmp_path / "w.pt")
    save_file(narrow, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        found = read_weights(tmp_path / name)
        assert same(found)
        assert found["a.weight"].dtype == torch.float32
        assert found["a.n"].dtype == torch.int64


@pytest.mark.parametrize("key", ["model_state_dict", "state_dict", "model_state", "module", "model"])
def test_a_state_dict_inside_of_a_checkpoint(tmp_path: Path, key: str) -> None:
    torch.save({key: PLAIN, "epoch": 1, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    assert same(read_weights(tmp_path / "w.pt"))
    torch.save({"model": {"state_dict": PLAIN, "args": "x"}}, tmp_path / "w.pt")
    assert same(read_weights(tmp_path / "w.pt"))


@pytest.mark.parametrize("before", ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod.model."])
def test_a_word_before_all_names_is_taken_off_and_before_some_it_stays(before: str) -> None:
    wrapped = {f"{before}{name}": tensor for name, tensor in PLAIN.items()}
    assert same(without_wrapper(wrapped, Path("w")))
    mixed = {**wrapped, "other": torch.ones(1)}
    assert without_wrapper(mixed, Path("w")).keys() == mixed.keys()


def test_shards_are_read_together_and_stay_in_their_folder(tmp_path: Path) -> None:
    for name, tensor in PLAIN.items():
        save_file({name: tensor}, tmp_path / f"{name}.safetensors")
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"weight_map": {name: f"{name}.safetensors" for name in PLAIN}}))
    assert same(read_sharded(index))
    for held, message in (
        ({"weight_map": {"a": "../b"}}, "outside"),
        ({}, "no weight_map"),
        ({"weight_map": {"a": "b"}}, "no "),
    ):
        index.write_text(json.dumps(held))
        with pytest.raises(InputError, match=message):
            read_sharded(index)


def test_what_else_a_file_may_be_is_told(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with pytest.raises(InputError, match=r"there is no .*w.pt"):
        refuse_pointer(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")
    with pytest.raises(InputError, match=f"Git LFS pointer.*git -C {tmp_path} lfs pull"):
        read_weights(path)
    for held, message in (
        (torch.nn.Linear(2, 2), "whole pickled model"),
        ([1, 2], "holds no state dict"),
        ({}, "holds no state dict"),
        ({"a.weight": torch.ones(2), "a.weight.absmax": torch.ones(1)}, "quantised"),
    ):
        torch.save(held, path)
        with pytest.raises(InputError, match=message) as caught:
            read_weights(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"nothing of the sort")
    with pytest.raises(InputError, match=r"cannot be read|is refused"):
        read_weights(path)


def test_parts_are_taken_out_by_whole_words_of_their_names() -> None:
    held = {name: torch.ones(1) for name in ("cls.a", "cls.b.c", "clsx.a", "prior", "z")}
    assert leave_out(held, {"cls": "a head", "prior": "a number", "absent": "?"}) == [
        "cls (a head)",
        "prior (a number)",
    ]
    assert sorted(held) == ["clsx.a", "z"]
