"""Folders of Geneformer: the published layouts of V1 and V2, what `write` writes, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from cellglass.errors import InputError
from cellglass.models.geneformer import files
from cellglass.models.geneformer.files import Dictionaries, GeneformerConfig
from cellglass.models.geneformer.model import GeneformerModel
from cellglass.models.registry import kind_of

GENES = 20
EMBEDDING = "bert.embeddings.word_embeddings.weight"


def dictionaries_of(*, special: bool, n_genes: int = GENES) -> Dictionaries:
    ids = [f"ENSG{i:011d}" for i in range(n_genes)]
    extra = ["<pad>", "<mask>", "<cls>", "<eos>"] if special else ["<pad>", "<mask>"]
    tokens = {token: i for i, token in enumerate([*extra, *ids])}
    medians = {gene: 0.5 + i for i, gene in enumerate(ids)}
    names = {f"NAME{i}": gene for i, gene in enumerate(ids)}
    return Dictionaries(tokens, medians, names, {gene: gene for gene in ids} if special else {})


def config_of(held: Dictionaries) -> GeneformerConfig:
    return GeneformerConfig(len(held.tokens), 8, 2, 2, 16, 4096 if held.special else 2048)


def weights_of(cfg: GeneformerConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights by transformers' names, its tied ones left out."""
    generator = torch.Generator().manual_seed(seed)
    held = cfg.new_net().state_dict()
    return {
        name: torch.randn(tensor.shape, generator=generator)
        for name, tensor in held.items()
        if not name.startswith("cls.predictions.decoder")
    }


def write_pickles(folder: Path, held: Dictionaries, suffix: str) -> None:
    """The published pickles: medians are NumPy numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    medians = {gene: np.float64(median) for gene, median in held.medians.items()}
    for stem, one in (
        ("token_dictionary", dict(held.tokens)),
        ("gene_median_dictionary", medians),
        ("gene_name_id_dict", dict(held.names)),
        ("ensembl_mapping_dict", dict(held.mapping)),
    ):
        if one:
            (folder / f"{stem}{suffix}.pkl").write_bytes(pickle.dumps(one, protocol=4))


def published_v1(root: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """As of 2023: pytorch_model.bin with the buffer of positions and all tied weights, dictionaries in a subfolder."""
    held = dictionaries_of(special=False)
    cfg = config_of(held)
    weights = weights_of(cfg)
    folder = root / "v1"
    folder.mkdir(parents=True)
    published = {
        "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.02, "gradient_checkpointing": False,
        "hidden_act": "relu", "hidden_dropout_prob": 0.02, "hidden_size": 8, "initializer_range": 0.02,
        "intermediate_size": 16, "layer_norm_eps": 1e-12, "max_position_embeddings": 2048, "model_type": "bert",
        "num_attention_heads": 2, "num_hidden_layers": 2, "pad_token_id": 0, "position_embedding_type": "absolute",
        "transformers_version": "4.6.0", "type_vocab_size": 2, "use_cache": True, "vocab_size": GENES + 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(published))
    state = dict(weights)
    state["bert.embeddings.position_ids"] = torch.arange(2048)[None]
    state["cls.predictions.decoder.weight"] = weights[EMBEDDING]
    state["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]
    torch.save(state, folder / "pytorch_model.bin")
    write_pickles(folder / "geneformer", held, "")
    return folder, weights


def published_v2(root: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """As of 2024: model folders beside ``geneformer``, which holds the dictionaries of both generations."""
    held = dictionaries_of(special=True)
    cfg = config_of(held)
    weights = weights_of(cfg)
    folder = root / "Geneformer-V2-104M"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**cfg.to_json(), "classifier_dropout": None}))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_pickles(root / "geneformer", held, "_gc104M")
    write_pickles(root / "geneformer" / "gene_dictionaries_30m", dictionaries_of(special=False), "_gc30M")
    return folder, weights


@pytest.mark.parametrize(("make", "special"), [(published_v1, False), (published_v2, True)])
def test_published_folders_are_read_whole(tmp_path: Path, make: Callable[..., Any], special: bool) -> None:
    folder, weights = make(tmp_path)
    cfg, found, held = files.load(folder)
    assert held == dictionaries_of(special=special)
    assert held.special == special
    assert all(type(median) is float for median in held.medians.values())
    assert cfg == config_of(held)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert kind_of(folder) == "geneformer"


def test_the_dictionaries_with_the_models_number_of_tokens_are_taken(tmp_path: Path) -> None:
    """A V1 model in the repository of V2: its dictionaries are in the subfolder."""
    published_v2(tmp_path)
    folder, _ = published_v1(tmp_path)
    shutil.rmtree(folder / "geneformer")
    assert files.load(folder)[2] == dictionaries_of(special=False)


@pytest.mark.parametrize("special", [False, True])
def test_what_is_written_is_read_by_transformers_and_by_us(tmp_path: Path, special: bool) -> None:
    from transformers import BertForMaskedLM

    held = dictionaries_of(special=special)
    cfg = config_of(held)
    weights = weights_of(cfg)
    files.write(tmp_path / "model", cfg, weights, held)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == sorted(
        ["cfg.json", "config.json", "model.safetensors", "gene_median_dictionary.json", "gene_name_id_dict.json",
         "token_dictionary.json", *(["ensembl_mapping_dict.json"] if special else [])]
    )  # fmt: skip
    cfg_again, found, held_again = files.load(tmp_path / "model")
    assert (cfg_again, held_again) == (cfg, held)
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    theirs, notes = BertForMaskedLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(notes[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    state = theirs.state_dict()
    assert all(torch.equal(state[name], weights[name]) for name in weights)
    net = cfg.new_net()
    files.put_weights(net, weights)
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert files.weights_of(net).keys() == weights.keys()


# -- weights -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    held = dictionaries_of(special=False)
    files.write(tmp_path / "model", config_of(held), weights_of(config_of(held)), held)
    return tmp_path / "model"


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def test_missing_left_over_and_misshapen_weights_are_all_listed(saved: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        del state["bert.encoder.layer.1.output.dense.bias"], state["cls.predictions.transform.LayerNorm.weight"]
        state["other.weight"] = torch.zeros(3, 8)
        state["bert.encoder.layer.2.output.dense.bias"] = torch.zeros(8)
        state["bert.encoder.layer.0.attention.self.query.weight"] = torch.zeros(8, 9)

    rewritten(saved, change)
    with pytest.raises(InputError) as error:
        files.load(saved)
    for part in (
        "missing: bert.encoder.layer.1.output.dense.bias, cls.predictions.transform.LayerNorm.weight",
        "left over: bert.encoder.layer.2.output.dense.bias, other.weight",
        "bert.encoder.layer.0.attention.self.query.weight is [8, 9], not [8, 8]",
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_tied_weights_may_come_under_either_name_and_must_agree(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")

    def rename(state: dict[str, torch.Tensor]) -> None:
        state["cls.predictions.decoder.weight"] = state.pop(EMBEDDING)
        state["cls.predictions.decoder.bias"] = state.pop("cls.predictions.bias")
        state["bert.pooler.dense.weight"], state["bert.pooler.dense.bias"] = torch.ones(8, 8), torch.ones(8)

    rewritten(saved, rename)
    found = files.load(saved)[1]
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    rewritten(saved, lambda state: state.update({EMBEDDING: state["cls.predictions.decoder.weight"] + 1}))
    with pytest.raises(InputError, match=r"decoder\.weight differs from bert\.embeddings\.word_embeddings"):
        files.load(saved)


class Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.unlink, (self.victim,)


def test_code_in_weights_or_dictionaries_is_never_run(tmp_path: Path) -> None:
    folder, _ = published_v1(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("here")
    bad = pickle.dumps({"ENSG00000000000": Malicious(victim)})
    dictionary = folder / "geneformer" / "gene_median_dictionary.pkl"
    good = dictionary.read_bytes()
    dictionary.write_bytes(bad)
    with pytest.raises(InputError, match="is refused: it would run"):
        files.load(folder)
    dictionary.write_bytes(good)
    torch.save({"a": Malicious(victim)}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="code is never run"):
        files.load(folder)
    assert victim.read_text() == "here"


def test_weights_that_cannot_be_read_are_named(saved: Path) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read"):
        files.load(saved)
    path.unlink()
    with pytest.raises(InputError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        files.load(saved)
    torch.save([1, 2], saved / "pytorch_model.bin")
    with pytest.raises(InputError, match="holds no state dict"):
        files.load(saved)
    (saved / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"pytorch_model\.bin"):
        files.load(saved)


# -- configuration and dictionaries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "is of no BERT"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' is not supported"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False is not supported"),
        ({"is_decoder": True}, "is_decoder=True is not supported"),
        ({"vocab_size": None}, "is damaged"),
        ({"hidden_size": 10}, "the weights do not fit"),
        ({"vocab_size": 99}, "the model has 99 tokens, the dictionary 22"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(saved: Path, change: dict[str, Any], message: str) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        files.load(saved)


def test_a_missing_or_damaged_configuration_is_named(saved: Path) -> None:
    path = saved / "config.json"
    held = json.loads(path.read_text())
    path.write_text(json.dumps({name: held[name] for name in held if name != "num_hidden_layers"}))
    with pytest.raises(InputError, match="does not say num_hidden_layers"):
        files.load(saved)
    path.write_text("{")
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        files.load(saved)
    path.unlink()
    with pytest.raises(InputError, match=r"there is no config\.json"):
        files.load(saved)


def test_dictionaries_are_given_by_folder_or_as_they_are(saved: Path, tmp_path: Path) -> None:
    held = dictionaries_of(special=False)
    apart = tmp_path / "apart"
    apart.mkdir()
    for path in saved.glob("*dict*.json"):
        path.rename(apart / f"geneformer_v1_{path.name}")
    with pytest.raises(InputError, match=r"holds no token_dictionary .* by dictionaries="):
        files.load(saved)
    assert files.load(saved, apart)[2] == held
    assert files.load(saved, held)[2] is held
    with pytest.raises(InputError, match="the model has 22 tokens, the dictionary 24"):
        files.load(saved, dictionaries_of(special=True))
    (apart / "geneformer_v1_gene_name_id_dict.json").unlink()
    assert files.load(saved, apart)[2].names == {}
    shutil.copy(apart / "geneformer_v1_token_dictionary.json", apart / "token_dictionary.json")
    with pytest.raises(InputError, match=r"more than one token_dictionary \(geneformer_v1_token_dictionary\.json, "):
        files.load(saved, apart)
    (apart / "token_dictionary.json").unlink()
    (apart / "geneformer_v1_gene_median_dictionary.json").write_text("{")
    with pytest.raises(InputError, match=r"gene_median_dictionary\.json cannot be read"):
        files.load(saved, apart)
    (apart / "geneformer_v1_gene_median_dictionary.json").unlink()
    with pytest.raises(InputError, match="but no gene_median_dictionary"):
        files.load(saved, apart)


TOKENS = {"<pad>": 0, "<mask>": 1, "a": 2}


@pytest.mark.parametrize(
    ("tokens", "medians", "message"),
    [
        ({"<pad>": 0, "<mask>": 1, "a": 1}, {}, "does not number its tokens"),
        ({"<pad>": 0, "<mask>": 1, "a": 3}, {}, "does not number its tokens"),
        ({"<pad>": 0, "a": 1}, {}, r"lacks special tokens \(<mask>\)"),
        ({**TOKENS, "<cls>": 3}, {}, r"lacks special tokens \(<cls> or <eos>\)"),
        ({**TOKENS, "b": "3"}, {}, "token_dictionary is no dictionary of the published kind"),
        ([1, 2], {}, "token_dictionary is no dictionary of the published kind"),
        (TOKENS, {"a": 0.0}, "the median of a is 0.0"),
        (TOKENS, {"a": float("nan")}, "the median of a is nan"),
        (TOKENS, {"a": "1"}, "gene_median_dictionary is no dictionary"),
    ],
)
def test_dictionaries_of_another_kind_are_refused(tokens: Any, medians: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Dictionaries(tokens, medians)


# -- fine-tuned models, as transformers saves them ---------------------------------------------------------------------


def tuned(saved: Path, folder: Path, kind: str) -> Path:
    """Write the encoder of `saved` as fine-tuning leaves it, with the weights of a head of its own."""
    import transformers

    kinds = {"cells": "BertForSequenceClassification", "genes": "BertForTokenClassification", "bare": "BertModel"}
    network = getattr(transformers, kinds.get(kind.split()[0], "BertModel"))
    loaded = network.from_pretrained(saved, num_labels=3) if "bare" not in kind else network.from_pretrained(saved)
    (loaded.half() if "half" in kind else loaded).save_pretrained(folder)
    if "several tasks" in kind:
        held = {f"bert.{name}": tensor for name, tensor in loaded.state_dict().items()}
        held |= {"classification_heads.0.weight": torch.ones(3, 8), "attention_pool.attention_weights": torch.ones(8)}
        (folder / "model.safetensors").unlink()
        torch.save(held, folder / "pytorch_model.bin")
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["cells", "genes", "bare", "cells half", "several tasks"])
def test_a_fine_tuned_encoder_is_read_without_its_head(saved: Path, tmp_path: Path, kind: str, caplog: Any) -> None:
    """In the folder of a Trainer's checkpoint, below the folder that holds the dictionaries."""
    folder = tuned(saved, tmp_path / "run" / "checkpoint-500", kind)
    for name in ("optimizer.pt", "training_args.bin", "trainer_state.json"):
        (folder / name).write_text("nothing that is read")
    write_pickles(tmp_path, files.load(saved)[2], "")
    plain, found = files.load(saved), files.load(folder)
    mine = {name: tensor for name, tensor in plain[1].items() if name.startswith("bert.")}
    assert found[1].keys() == mine.keys()
    exact = "half" not in kind
    for name, tensor in mine.items():
        assert found[1][name].dtype == torch.float32
        torch.testing.assert_close(found[1][name], tensor if exact else tensor.half().float(), rtol=0, atol=0)
    said = {"cells": "classifier (a classifier)", "genes": "classifier (a classifier)", "several": "several tasks"}
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("cellglass")]
    if kind.split()[0] in said:
        assert len(lines) == 1
        assert said[kind.split()[0]] in lines[0]
    else:
        assert lines == []


@pytest.mark.filterwarnings("ignore")
def test_sites_need_no_head_and_predictions_do(saved: Path, tmp_path: Path) -> None:
    import scipy.sparse as sp

    from cellglass.cells import Cells

    folder = tuned(saved, tmp_path / "tuned", "cells")
    held = files.load(saved)[2]
    whole, model = GeneformerModel.load(saved), GeneformerModel.load(folder, held)
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(2.0, (5, len(whole.genes))).astype(np.float32))
    table = pd.DataFrame({"symbol": whole.genes}, index=whole.genes)
    cells = Cells(counts, table, pd.DataFrame(index=list("abcde")))
    for site in ("cell", "cell.last"):
        torch.testing.assert_close(model.activations(cells, [site])[site], whole.activations(cells, [site])[site])
    with pytest.raises(InputError, match="has no masked-gene head"):
        model.gene_logits(cells)
    model.save(tmp_path / "again")
    assert GeneformerModel.load(tmp_path / "again").fingerprint() == model.fingerprint()


def test_shards_adapters_and_pointers(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    names = sorted(weights)
    (saved / "model.safetensors").unlink()
    parts = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for part, mine in parts.items():
        save_file({name: weights[name] for name in mine}, saved / part)
    index = {"weight_map": {name: part for part, mine in parts.items() for name in mine}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    found = files.load(saved)[1]
    assert found.keys() == weights.keys()
    (saved / "model.safetensors.index.json").unlink()
    query = "base_model.bert.encoder.layer.0.attention.self.query.lora_A.weight"
    save_file({query: torch.ones(2, 2)}, saved / "model.safetensors")
    with pytest.raises(InputError, match=r"an adapter .*merge_and_unload"):
        files.load(saved)
    (saved / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")
    with pytest.raises(InputError, match=r"model.safetensors is a Git LFS pointer.*lfs pull"):
        files.load(saved)
