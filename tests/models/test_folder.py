import pytest
import torch

from cellglass.errors import InputError
from cellglass.models.folder import digest, read_cfg, read_tensors, write_model

CFG = {"kind": "some", "width": 3}


@pytest.fixture
def tensors():
    shared = torch.arange(6.0).reshape(2, 3)
    return {"a": shared, "b": shared.T, "n": torch.tensor(3)}


def test_what_is_written_is_read_back(tmp_path, tensors):
    write_model(tmp_path / "model", CFG, tensors, {"torch": "2"})
    assert read_cfg(tmp_path / "model", "some")["width"] == 3
    read = read_tensors(tmp_path / "model")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    assert digest(CFG, read) == digest(CFG, tensors)


def test_a_digest_sees_weights_and_configuration(tensors):
    changed = {**tensors, "n": torch.tensor(4)}
    assert len({digest(CFG, tensors), digest(CFG, changed), digest({"kind": "x"}, tensors)}) == 3


def test_wrong_folders_are_named(tmp_path, tensors):
    with pytest.raises(InputError, match=r"there is no cfg\.json"):
        read_cfg(tmp_path)
    write_model(tmp_path / "model", CFG, tensors, {})
    with pytest.raises(InputError, match="kind 'some', not 'other'"):
        read_cfg(tmp_path / "model", "other")
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"nothing of the sort")
    with pytest.raises(InputError, match="is damaged"):
        read_tensors(tmp_path / "model")
    (tmp_path / "model" / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="copy the whole folder"):
        read_tensors(tmp_path / "model")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"kind": 3}'])
def test_a_broken_configuration_is_refused(tmp_path, text):
    (tmp_path / "cfg.json").write_text(text)
    with pytest.raises(InputError, match=r"cfg\.json"):
        read_cfg(tmp_path)
