"""Whatever is wrong with a foreign folder, the file and the way out are named."""

import json

import pytest
import torch
from safetensors.torch import save_file

from cellglass.dictionaries.exchange.folders import expect, read_cfg, read_tensors, whole_number, write_folder
from cellglass.errors import InputError


def test_what_is_written_is_read(tmp_path) -> None:
    values = torch.arange(6, dtype=torch.float64).view(2, 3).T
    write_folder(tmp_path / "a", {"cfg.json": '{"k": 3}\n'}, {"w.safetensors": {"w": values}})
    assert read_cfg(tmp_path / "a", "X", "w.safetensors") == {"k": 3}
    read = read_tensors(tmp_path / "a" / "w.safetensors")["w"]
    assert read.dtype == torch.float64
    assert torch.equal(read, values)
    write_folder(tmp_path / "a", {"cfg.json": "{}"}, {})
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "cfg.json"]


def test_a_wrong_folder_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no dictionary of X is here"):
        read_cfg(tmp_path / "nowhere", "X", "w.safetensors")
    for text, message in (
        ("{", "cannot be read as JSON"),
        ("[]", "is not the cfg.json of a dictionary of X"),
        ("\xff", "cannot be read as JSON"),
        (json.dumps({"format": "cellglass.dictionary"}), "read it with cellglass.dictionaries.load"),
        ("{}", r"has no w\.safetensors, .* its safetensors: other\.safetensors"),
    ):
        (tmp_path / "cfg.json").write_bytes(text.encode("latin-1"))
        (tmp_path / "other.safetensors").touch()
        with pytest.raises(InputError, match=message):
            read_cfg(tmp_path, "X", "w.safetensors")


def test_damaged_weights_are_named(tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match=r"w\.safetensors: is missing"):
        read_tensors(path)
    save_file({"w": torch.ones(3)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"truncated or damaged"):
        read_tensors(path)
    save_file({"w": torch.tensor([1.0, float("nan")])}, path)
    with pytest.raises(InputError, match=r"w holds values that are not finite"):
        read_tensors(path)


def test_narrow_weights_are_widened(tmp_path) -> None:
    save_file({"w": torch.ones(3, dtype=torch.bfloat16)}, tmp_path / "w.safetensors")
    assert read_tensors(tmp_path / "w.safetensors")["w"].dtype == torch.float64


def test_shapes_are_held_against_the_config() -> None:
    tensors = {"a": torch.zeros(2), "b": torch.zeros(2, 3)}
    expect(tensors, {"a": (2,), "b": (2, 3)}, "here")
    for shapes, message in (
        ({"a": (2,), "b": (2, 3), "c": ()}, r"here: lacks c; it holds a, b"),
        ({"a": (2,), "b": (3, 2)}, r"here: b has shape \(2, 3\), but cfg.json asks for \(3, 2\)"),
        ({"a": (2,)}, r"here: holds b too"),
    ):
        with pytest.raises(InputError, match=message):
            expect(tensors, shapes, "here")


@pytest.mark.parametrize("value", [None, 0, -1, 2.5, True, "3", float("inf"), float("nan")])
def test_what_is_no_count_is_refused(value) -> None:
    with pytest.raises(InputError, match=r"here: k is .*at least 1"):
        whole_number({"k": value}, "k", "here")


def test_a_count_may_be_written_as_a_float() -> None:
    assert whole_number({"k": 3.0}, "k", "here") == 3
