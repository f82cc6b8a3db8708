"""Cell2Sentence's folders: as transformers writes them, as older versions did, damaged, and as we write them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, Gemma2Config, GPTNeoXConfig
from transformers.utils import logging

from cellglass.errors import InputError
from cellglass.models.cell2sentence.files import new_net, read, tokenizer_of, weights_of, write
from cellglass.models.registry import kind_of

IDS = torch.tensor([[1, 5, 2, 7, 7, 9, 3]])
CONFIGS: dict[str, Any] = {
    "gpt_neox": GPTNeoXConfig(
        vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    ),
    "gemma2": Gemma2Config(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=6, query_pre_attn_scalar=6, sliding_window=4, attn_logit_softcapping=2.0,
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_bars() -> Any:
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


def published(folder: Path, kind: str, seed: int = 0) -> Any:
    """Let transformers write a network of random weights and a tokenizer of single characters; return the network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = AutoModelForCausalLM.from_config(CONFIGS[kind], attn_implementation="eager").eval()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
    net.save_pretrained(folder)
    letters = {letter: i for i, letter in enumerate(["<end>", "<begin>", *"ABCDEFGHIJ 0123456789-."])}
    tokenizer = Tokenizer(models.BPE(letters, [], unk_token="<end>"))  # noqa: S106
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding()
    if kind == "gemma2":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<begin> $A", special_tokens=[("<begin>", letters["<begin>"])]
        )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    tokenizer.save(str(folder / "tokenizer.json"))
    begin = {"gpt_neox": "<end>", "gemma2": {"content": "<begin>"}}[kind]
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": begin, "eos_token": "<end>"}))
    return net


@pytest.fixture(params=list(CONFIGS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@torch.no_grad()
def test_a_folder_that_transformers_wrote_computes_the_same(kind, tmp_path):
    net = published(tmp_path, kind)
    before = torch.get_rng_state()
    found = read(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert kind_of(tmp_path) == "cell2sentence"
    assert not found.net.training
    assert found.net.config._attn_implementation == {"gpt_neox": "sdpa", "gemma2": "eager"}[kind]
    assert torch.allclose(found.net(input_ids=IDS).logits, net(input_ids=IDS).logits, atol=1e-5)
    assert all(
        torch.equal(a, b) for a, b in zip(found.net.state_dict().values(), net.state_dict().values(), strict=True)
    )


def test_what_we_write_transformers_and_we_read(kind, tmp_path):
    net = published(tmp_path / "theirs", kind)
    found = read(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    write(tmp_path / "ours", found)
    again, notes = AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", local_files_only=True, output_loading_info=True
    )
    assert not any(notes.values())
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), net.state_dict().values(), strict=True))
    assert set(load_file(tmp_path / "ours" / "model.safetensors")) == set(
        load_file(tmp_path / "theirs" / "model.safetensors")
    )
    ours = read(tmp_path / "ours")
    assert ours.config == found.config
    assert ours.files == found.files
    head = {"gpt_neox": "embed_out.weight", "gemma2": "lm_head.weight"}[kind]
    assert (head in weights_of(ours.net)) == (kind == "gpt_neox")  # Gemma 2's is tied to the embedding


def test_other_precision(kind, tmp_path):
    published(tmp_path, kind)
    found = read(tmp_path, torch.bfloat16)
    assert found.net.dtype == torch.bfloat16
    assert found.config["dtype"] == "bfloat16"


def test_old_torch_files_in_shards_with_constants(kind, tmp_path):
    """As published folders of older versions are: several torch files, an index, constants among the weights."""
    net = published(tmp_path, kind)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    if kind == "gpt_neox":
        tensors["gpt_neox.layers.0.attention.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.bool)
        tensors["gpt_neox.layers.1.attention.masked_bias"] = torch.tensor(-1e9)
        tensors["gpt_neox.layers.1.attention.rotary_emb.inv_freq"] = torch.ones(2)
    else:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()  # tied, and written all the same
    parts = {name: f"pytorch_model-{i % 2}.bin" for i, name in enumerate(sorted(tensors))}
    for part in set(parts.values()):
        torch.save({name: tensor for name, tensor in tensors.items() if parts[name] == part}, tmp_path / part)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": parts}))
    found = read(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(found.net.state_dict().values(), net.state_dict().values(), strict=True)
    )


def test_every_weight_that_does_not_fit_is_listed(kind, tmp_path):
    published(tmp_path, kind)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    names = sorted(name for name in tensors if "layers.1." in name)
    del tensors[names[0]], tensors[names[1]]
    tensors[names[2]] = torch.zeros(3)
    tensors["adapter.weight"] = torch.zeros(2)
    save_file(tensors, path)
    with pytest.raises(InputError) as error:
        read(tmp_path)
    said = str(error.value)
    assert f"missing: {names[0]}, {names[1]};" in said
    assert "left over: adapter.weight;" in said
    assert f"of another shape: {names[2]} (3,) for (" in said
    assert "\n" not in said


def test_a_head_that_is_said_to_be_tied_but_differs_is_left_over(tmp_path):
    published(tmp_path, "gemma2")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"left over: lm_head\.weight"):
        read(tmp_path)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


def test_code_in_weights_is_refused(tmp_path, capsys):
    published(tmp_path, "gpt_neox")
    (tmp_path / "model.safetensors").unlink()
    torch.save({"gpt_neox.embed_in.weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="more than tensors"):
        read(tmp_path)
    with (tmp_path / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Evil(), file, protocol=2)
    with pytest.raises(InputError, match="pytorch_model"):
        read(tmp_path)
    assert "run" not in capsys.readouterr().out


def _without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def _config(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        held = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**held, **changes}))

    return change


def _index(parts: Any) -> Any:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps(parts))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("config.json"), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (_config(model_type="llama"), "type 'llama'; Cell2Sentence models are of type: gpt_neox, gemma2"),
        (_config(hidden_size="wide"), "makes no network"),
        (_config(hidden_size=15), "makes no network"),
        (_without("tokenizer.json"), "has no tokenizer.json"),
        (_without("model.safetensors"), "has no weights"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"1234567890"), "cannot be read"),
        (_index({"weight_map": {"a": "../model.safetensors"}}), "files outside of its folder"),
        (_index({"weight_map": {"a": "gone.safetensors"}}), "the index names it"),
        (_index([1]), "cannot be read"),
    ],
)
def test_damaged_folders_are_named_in_one_line(damage, message, tmp_path):
    published(tmp_path, "gpt_neox")
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_the_tokenizer_neither_cuts_nor_pads_and_knows_where_texts_begin(kind, tmp_path):
    published(tmp_path, kind)
    found = read(tmp_path)
    tokenizer, begin = tokenizer_of(found, "here")
    assert begin == {"gpt_neox": 0, "gemma2": 1}[kind]
    first, second = tokenizer.encode_batch(["ABCDEF", "A"])
    assert len(first.ids) == 6 + (kind == "gemma2")
    assert len(second.ids) == 1 + (kind == "gemma2")


def test_where_a_text_begins_is_looked_up_in_all_files(tmp_path):
    published(tmp_path, "gpt_neox")
    for name, held, begin in (
        ("tokenizer_config.json", {"bos_token": None, "eos_token": "C"}, 4),
        ("tokenizer_config.json", {"bos_token": "unheard of"}, 7),  # config.json's
        ("special_tokens_map.json", {"bos_token": {"content": "B"}}, 3),
    ):
        _config(bos_token_id=7)(tmp_path) if begin == 7 else _config(bos_token_id=None, eos_token_id=None)(tmp_path)
        (tmp_path / name).write_text(json.dumps(held))
        assert tokenizer_of(read(tmp_path), "here")[1] == begin
    (tmp_path / "special_tokens_map.json").unlink()
    with pytest.raises(InputError, match="names a bos_token or eos_token"):
        tokenizer_of(read(tmp_path), "here")


def test_a_tokenizer_of_another_network_is_refused(tmp_path):
    published(tmp_path, "gpt_neox")
    letters = {f"letter{i}": i for i in range(50)}
    Tokenizer(models.WordLevel(letters, unk_token="letter0")).save(str(tmp_path / "tokenizer.json"))  # noqa: S106
    with pytest.raises(InputError, match="tokens up to 49, the network embeds 40"):
        tokenizer_of(read(tmp_path), "here")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer\.json cannot be read"):
        tokenizer_of(read(tmp_path), "here")


def test_settings_of_the_rotary_embedding_survive(tmp_path):
    """Published models with a longer context scale it; reading twice must not change the configuration."""
    published(tmp_path, "gpt_neox")
    held = json.loads((tmp_path / "config.json").read_text())
    del held["rope_parameters"]
    _config()(tmp_path)
    old = {**held, "rotary_pct": 0.5, "rotary_emb_base": 5000, "rope_scaling": {"type": "linear", "factor": 4.0}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    first, second = read(tmp_path), read(tmp_path)
    assert first.config == second.config
    assert first.config["rope_scaling"] == {"type": "linear", "factor": 4.0}
    rotary = first.net.gpt_neox.rotary_emb
    assert rotary.rope_type == "linear"
    fresh = new_net(first.config, torch.float32).gpt_neox.rotary_emb
    assert torch.equal(rotary.inv_freq, fresh.inv_freq)


def test_what_is_not_published_is_told_apart(tmp_path):
    with pytest.raises(InputError, match="holds no model"):
        kind_of(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match="network of type 'None'"):
        kind_of(tmp_path)
