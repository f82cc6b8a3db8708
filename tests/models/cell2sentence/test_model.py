"""Cell2Sentence: against transformers' own forward pass, alone and in batches, edited and not, saved and loaded."""

from __future__ import annotations

import json
import logging as plain_logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config, GPTNeoXConfig
from transformers.utils import logging

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.base import TokenRows
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.models.cell2sentence.text import PROMPTS, SentenceSettings
from cellglass.models.coverage import GeneCoverage

NAMES = [
    "CD3", "CD3D", "CD3E", "MT-CO1", "HLA-DRA", "HLA-DRB1", "RP11-620J15.3", "RP11-620J15", "C1orf43", "NKG7", "CD8A",
    "A", "AB", "B", "S100A8", "S100A9", "TAG1", "B2M", "Y_RNA", "7SK", "IGHV3-7", "MT-CO2", "LST1", "FTL",
]  # fmt: skip
WORDS = [name.upper() for name in NAMES]
TOKENS = 330


def cells_of(n: int = 64, seed: int = 0, names: list[str] = NAMES) -> Cells:
    """Cells of very different lengths; cell 2 has no counts, cell 3 one gene."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.uniform(0.05, 2.0, (n, 1)), (n, len(names))).astype(np.float32)
    counts[2:4] = 0
    counts[3, 6 % len(names)] = 4
    genes = pd.DataFrame({"symbol": names}, index=pd.Index([f"id{i}" for i in range(len(names))], dtype=object))
    obs = pd.DataFrame({"type": [f"type {i % 3}" for i in range(n)]}, index=[f"c{i}" for i in range(n)])
    return Cells(sp.csr_matrix(counts), genes, obs)


def publish(folder: Path, kind: str) -> None:
    """A network of random weights and a byte-level tokenizer, in the published layout, by their own libraries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS, special_tokens=["<end>", "<begin>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(
        [" " + " ".join(WORDS), *(part for prompt in PROMPTS.values() for part in prompt)], trainer
    )
    if kind == "gemma2":
        tokenizer.post_processor = processors.TemplateProcessing(single="<begin> $A", special_tokens=[("<begin>", 1)])
    shared = {
        "vocab_size": TOKENS, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 400,
    }  # fmt: skip
    config = {
        "gpt_neox": GPTNeoXConfig(**shared, rope_parameters={"rope_theta": 1e4, "partial_rotary_factor": 0.5}),
        "gemma2": Gemma2Config(
            **shared, num_key_value_heads=2, head_dim=6, query_pre_attn_scalar=6, sliding_window=20,
            attn_logit_softcapping=2.0, final_logit_softcapping=3.0,
        ),
    }[kind]  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.25)
    logging.disable_progress_bar()
    net.save_pretrained(folder)
    logging.enable_progress_bar()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<begin>", "eos_token": "<end>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))


@pytest.fixture(scope="module", params=["gpt_neox", "gemma2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp(request.param) / "published"
    path.mkdir()
    publish(path, request.param)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Cell2SentenceModel:
    return Cell2SentenceModel.load(folder, cells_of())


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    """The same network read by transformers alone."""
    logging.disable_progress_bar()
    net = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, attn_implementation="eager").eval()
    logging.enable_progress_bar()
    return net


def ids_of(model: Cell2SentenceModel, cells: Cells, cell: int) -> tuple[torch.Tensor, list[tuple[int, list[int]]]]:
    """The tokens of a cell run alone, and each gene with the places of its tokens, by a loop."""
    tokens = model.tokenise(cells[[cell]])
    places: dict[int, list[int]] = {}
    for place, gene in enumerate(tokens.gene.tolist()):
        if gene >= 0:
            places.setdefault(gene, []).append(place)
    return torch.from_numpy(tokens.ids)[None], list(places.items())


def rows_of(found: TokenRows, cell: int) -> tuple[torch.Tensor, list[int]]:
    here = found.cell == cell
    return found.values[torch.from_numpy(here)], found.gene[here].tolist()


# -- what the sites are ------------------------------------------------------------------------------------------------


@torch.no_grad()
def passing(net: Any, ids: torch.Tensor) -> tuple[Any, dict[str, torch.Tensor]]:
    """transformers' own pass with all hidden states, and what its modules gave and were given."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_module: Any, args: Any, output: Any) -> None:
            seen[f"{name}.in"] = args[0] if args else torch.empty(0)
            seen[f"{name}.out"] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in net.named_modules()]
    output = net(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
    for handle in handles:
        handle.remove()
    return output, seen


@pytest.mark.parametrize("rows", ["last", "mean"])
def test_every_site_is_what_transformers_own_pass_computes(model, theirs, rows):
    model, cells = model.with_settings(rows=rows), cells_of()
    names = [name for name, site in model.sites.items() if site.granularity == "token"]
    found = model.token_activations(cells[[0, 3, 7]], names)
    pooled = model.activations(cells[[0, 3, 7]], ["cell", "cell.last"])
    neox = theirs.config.model_type == "gpt_neox"
    layer = "gpt_neox.layers.{}" if neox else "model.layers.{}"
    size = 4 if neox else 6
    for row, cell in enumerate((0, 3, 7)):
        ids, genes = ids_of(model, cells, cell)
        output, seen = passing(theirs, ids)
        hidden = output.hidden_states
        wanted = {"embed": hidden[0], "layers.0.resid": hidden[1], "final": hidden[-1]}
        for i in range(2):
            at = layer.format(i)
            given = seen[f"{at}.attention.dense.in" if neox else f"{at}.self_attn.o_proj.in"]
            for h in range(4):
                wanted[f"layers.{i}.attn.head.{h}"] = given[..., h * size : (h + 1) * size]
            wanted[f"layers.{i}.attn.out"] = seen[
                f"{at}.attention.out" if neox else f"{at}.post_attention_layernorm.out"
            ]
            wanted[f"layers.{i}.mlp.in"] = seen[f"{at}.mlp.in"]
            wanted[f"layers.{i}.mlp.out"] = seen[f"{at}.mlp.out" if neox else f"{at}.post_feedforward_layernorm.out"]
            wanted[f"layers.{i}.resid"] = seen[f"{at}.out"]
        assert set(wanted) == set(names)
        for name, states in wanted.items():
            values, of = rows_of(found[name], row)
            assert of == [gene for gene, _ in genes]
            slow = [states[0, places].mean(0) if rows == "mean" else states[0, places[-1]] for _, places in genes]
            assert torch.allclose(values, torch.stack(slow), atol=1e-5), name
        assert torch.allclose(pooled["cell"][row], hidden[-1][0].mean(0), atol=1e-5)
        assert torch.allclose(pooled["cell.last"][row], hidden[-1][0, -1], atol=1e-5)
        with torch.no_grad():
            assert torch.allclose(model.logits(hidden[-1]), output.logits, atol=1e-5)


def test_the_residual_stream_is_the_sum_of_what_is_written_to_it(model):
    names = ["embed", *(f"layers.{i}.{part}" for i in range(2) for part in ("attn.out", "mlp.out", "resid"))]
    rows = {name: found.values for name, found in model.token_activations(cells_of(), names).items()}
    assert len(rows["embed"]) > 300
    before = rows["embed"]
    for i in range(2):
        after = before + rows[f"layers.{i}.attn.out"] + rows[f"layers.{i}.mlp.out"]
        assert torch.allclose(rows[f"layers.{i}.resid"], after, atol=1e-5)
        before = after


def test_tokens_are_those_of_transformers_tokenizer(model, folder):
    """The whole text of a cell, as the published code gives it to its tokenizer."""
    tokenizer, cells = AutoTokenizer.from_pretrained(folder, local_files_only=True), cells_of()
    several = 0
    for cell in (0, 2, 7):
        ids, genes = ids_of(model, cells, cell)
        names = " ".join(WORDS[gene] for gene, _ in genes)
        before, behind = PROMPTS["cell_type"]
        text = before.format(n_genes=200, organism="Homo sapiens") + (f" {names}" if names else "") + behind
        assert tokenizer(text)["input_ids"] == ids[0].tolist()
        several += sum(len(places) > 1 for _, places in genes)
    assert several > 10


# -- batches, causality, edits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "prompt"), [("last", "cell_type"), ("mean", "none")])
def test_a_cell_alone_and_among_64_of_mixed_lengths(model, rows, prompt):
    model, cells = model.with_settings(rows=rows, prompt=prompt), cells_of()
    model.batch_tokens = 1 << 20
    tokens = [name for name, site in model.sites.items() if site.granularity == "token"]
    order = np.random.default_rng(4).permutation(64)
    lengths = model.tokenise(cells).lengths
    assert lengths.max() > lengths.min() + 40
    many = model.token_activations(cells[order], tokens)
    pooled = model.activations(cells[order], ["cell", "cell.last"])
    for place in (0, 5, 17, *(int(np.flatnonzero(order == cell)[0]) for cell in (2, 3))):
        one = cells[order[[place]]]
        for name, found in model.token_activations(one, tokens).items():
            values, genes = rows_of(many[name], place)
            assert found.gene.tolist() == genes
            assert torch.allclose(values, found.values, atol=1e-5), name
        for name, found in model.activations(one, ["cell", "cell.last"]).items():
            assert torch.allclose(pooled[name][place], found[0], atol=1e-5)


def test_a_gene_depends_on_the_genes_before_it_only(model):
    model, cells = model.with_settings(prompt="none"), cells_of()
    whole = model.token_activations(cells, ["final"])["final"]
    short = model.with_settings(prompt="none", n_genes=4).token_activations(cells, ["final"])["final"]
    for cell in range(20):
        values, genes = rows_of(whole, cell)
        first, of = rows_of(short, cell)
        assert of == genes[:4]
        assert torch.allclose(first, values[:4], atol=1e-5)


def test_a_swap_is_an_edit_of_the_counts_run_alone(model):
    cells = cells_of()
    rng = np.random.default_rng(1)
    cell, gene = rng.integers(0, 20, 12), rng.integers(0, len(NAMES), 12)
    count = rng.integers(0, 6, 12).astype(np.float32)
    cell[0], gene[0], count[0] = 3, 6, 0  # the only gene of its cell
    for site in ("cell", "cell.last"):
        found = model.perturbed_activations(cells, site, cell, gene, count)
        for i in range(12):
            dense = cells.counts[cell[i]].toarray()
            dense[0, gene[i]] = count[i]
            alone = Cells(sp.csr_matrix(dense), cells.genes, cells.obs.iloc[[cell[i]]])
            assert torch.allclose(found[i], model.activations(alone, [site])[site][0], atol=1e-5)


@pytest.mark.parametrize("rows", ["last", "mean"])
def test_what_is_put_is_read_and_an_edit_that_changes_nothing_does_nothing(model, rows):
    model, cells = model.with_settings(rows=rows), cells_of(16)
    tokens = [name for name, site in model.sites.items() if site.granularity == "token"]
    plain = model.activations(cells, ["cell"])["cell"]
    kept, _ = model.with_edits(cells, {name: lambda found: found.values for name in tokens}, ["cell"])
    assert torch.allclose(kept["cell"], plain, atol=1e-5)
    batch = model.tokenise(cells).padded(np.arange(16), 0)
    for width in (16, 4):
        hidden = torch.randn(*batch.ids.shape, width)
        values = torch.randn(len(model.rows(hidden, batch).gene), width)
        changed = model.put_rows(hidden, batch, values)
        assert torch.allclose(model.rows(changed, batch).values, values, atol=1e-5)
        assert torch.equal(changed[batch.gene < 0], hidden[batch.gene < 0])
        moved = (changed != hidden).any(-1)
        assert moved.sum() == (len(values) if rows == "last" else (batch.gene >= 0).sum())


def test_an_edit_reaches_what_lies_behind_it(model, theirs):
    """Rows of a layer replaced, against transformers' pass with the same tokens overwritten by a hook."""
    cells = cells_of()
    found, outputs = model.with_edits(cells[[0]], {"layers.0.resid": lambda rows: rows.values * 0 + 1.5}, ["cell"])
    ids, genes = ids_of(model, cells, 0)
    places = [held[-1] for _, held in genes]

    def overwrite(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[0, places] = 1.5
        return output

    layers = theirs.base_model.layers
    handle = layers[0].register_forward_hook(overwrite)
    with torch.no_grad():
        hidden = theirs.base_model(input_ids=ids).last_hidden_state
    handle.remove()
    assert torch.allclose(found["cell"][0], hidden[0].mean(0), atol=1e-5)
    assert torch.allclose(outputs[0][1], hidden, atol=1e-5)
    assert not torch.allclose(found["cell"], model.activations(cells[[0]], ["cell"])["cell"], atol=1e-3)


# -- predictions -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def log_probability(net: Any, prompt: list[int], text: list[int]) -> tuple[float, torch.Tensor]:
    """Of a text behind a prompt by one pass over both; and the log-probabilities of what follows it."""
    logs = net(input_ids=torch.tensor([[*prompt, *text]])).logits[0].double().log_softmax(-1)
    return sum(float(logs[len(prompt) - 1 + k, token]) for k, token in enumerate(text)), logs[-1]


@pytest.mark.parametrize("prompt", ["cell_type", "generation", "none"])
def test_next_gene_is_the_probability_of_whole_strings(model, theirs, folder, prompt):
    label = "type" if prompt == "generation" else None
    model, cells = model.with_settings(prompt=prompt, label=label), cells_of()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    chosen = (0, 2) if prompt == "none" else (7,)
    found = model.next_gene(cells[list(chosen)])
    assert found.shape == (len(chosen), len(NAMES))
    assert (found > 0).all()
    assert (found.sum(1) <= 1).all()
    for row, cell in enumerate(chosen):
        _, genes = ids_of(model, cells, cell)
        before = PROMPTS[prompt].before.format(n_genes=200, organism="Homo sapiens", cell_type=f"type {cell % 3}")
        sentence = before + "".join(f" {WORDS[gene]}" for gene, _ in genes)
        start = [] if prompt != "none" or theirs.config.model_type == "gemma2" else [1]
        prefix = start + tokenizer.encode(sentence).ids
        texts = []
        for word in WORDS:  # tokens of the whole string, of which the sentence's are the first
            whole = start + tokenizer.encode(f"{sentence} {word}").ids
            assert whole[: len(prefix)] == prefix
            texts.append(whole[len(prefix) :])
        goes_on = 0
        for gene, text in enumerate(texts):
            total, following = log_probability(theirs, prefix, text)
            more = {other[len(text)] for other in texts if len(other) > len(text) and other[: len(text)] == text}
            goes_on += bool(more)
            slow = math.exp(total) * (1 - sum(math.exp(float(following[token])) for token in more))
            assert float(found[row, gene]) == pytest.approx(slow, rel=1e-4)
        assert goes_on >= 2  # CD3 and CD3D, RP11-620J15 and RP11-620J15.3


def test_genes_of_one_name_share_its_probability(model):
    names = ["CD3D", "NKG7", "cd3d", "B2M"]
    twice = cells_of(6, names=names)
    once = twice.select_genes([0, 1, 3])
    found = model.for_cells(twice).with_settings(prompt="none", n_genes=1).next_gene(twice[2:3])  # no counts
    alone = model.for_cells(once).with_settings(prompt="none", n_genes=1).next_gene(once[2:3])
    assert torch.allclose(found[:, [0, 2]], alone[:, [0]].expand(1, 2) / 2)
    assert torch.allclose(found[:, [1, 3]], alone[:, [1, 2]])


def test_label_probabilities_are_those_of_whole_answers(model, theirs, folder):
    cells, labels = cells_of(), ["T cell", "T cell, CD8", "monocyte", "B"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for space in (True, False):
        asked = model.with_settings(prompt="none", answer_space=space)
        found = asked.label_probabilities(cells[[0, 2]], labels)
        assert torch.allclose(found.sum(1), torch.ones(2), atol=1e-6)
        for row, cell in enumerate((0, 2)):
            ids, _ = ids_of(model, cells, cell)
            answers = [f"{' ' if space else ''}{label}." for label in labels]
            texts = [tokenizer.encode(answer, add_special_tokens=False).ids for answer in answers]
            slow = np.exp([log_probability(theirs, ids[0].tolist(), text)[0] for text in texts])
            assert np.allclose(found[row].numpy(), slow / slow.sum(), rtol=1e-4)
    for wrong in ([], ["a", "a"], ["a", " "]):
        with pytest.raises(InputError, match="at least one"):
            model.label_probabilities(cells, wrong)


# -- genes, folders ----------------------------------------------------------------------------------------------------


def test_a_published_folder_lists_no_genes(folder):
    model = Cell2SentenceModel.load(folder)
    assert len(model.genes) == 0
    with pytest.raises(InputError, match="for_cells"):
        model.activations(cells_of(), ["cell"])
    cells = cells_of()
    given = model.for_cells(cells)
    assert given.genes.equals(cells.genes.index)
    assert given.fingerprint() == Cell2SentenceModel.load(folder, cells).fingerprint()


def test_other_cells_are_aligned_and_counted(model, caplog):
    cells = cells_of()
    order = [5, 4, 3, 2, 1, 0, 9]
    some = cells.select_genes(order)
    genes = pd.DataFrame({"symbol": [*some.symbols, "NEW"]}, index=pd.Index([*some.symbols, "NEW"], dtype=object))
    counts = sp.csr_matrix(sp.hstack([some.counts, sp.csr_matrix(np.ones((64, 1), np.float32))]))
    other = Cells(counts, genes, cells.obs)  # known by symbols; one gene is unheard of
    with caplog.at_level(plain_logging.INFO, logger="cellglass.models.cell2sentence"):
        found = model.activations(other, ["cell"])["cell"]
        model.activations(other, ["cell"])
    assert model.coverage == GeneCoverage(7, len(NAMES) - 7, 1)
    assert sum("7 found, 17 missing; 1 genes of the cells unknown" in record.message for record in caplog.records) == 1
    dense = cells.counts.toarray()
    dense[:, [g for g in range(len(NAMES)) if g not in order]] = 0
    assert torch.allclose(
        found, model.activations(cells.with_counts(sp.csr_matrix(dense)), ["cell"])["cell"], atol=1e-6
    )


def test_saved_and_loaded(model, folder, tmp_path):
    cells = cells_of(12)
    chosen = model.with_settings(prompt="generation", label="type", n_genes=7, rows="mean")
    chosen.save(tmp_path / "model")
    again = Cell2SentenceModel.load(tmp_path / "model")
    assert again.settings == SentenceSettings("generation", 7, label="type", rows="mean")
    assert again.fingerprint() == chosen.fingerprint() != model.fingerprint()
    sites = ["final", "layers.1.attn.head.2"]
    for name, found in chosen.token_activations(cells, sites).items():
        assert torch.equal(found.values, again.token_activations(cells, sites)[name].values)
    assert torch.equal(chosen.activations(cells, ["cell"])["cell"], again.activations(cells, ["cell"])["cell"])
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    other = Cell2SentenceModel.load(tmp_path / "model", settings=SentenceSettings())
    assert other.fingerprint() == model.fingerprint()
    half = Cell2SentenceModel.load(folder, cells, dtype=torch.bfloat16)
    half.save(tmp_path / "half")
    assert Cell2SentenceModel.load(tmp_path / "half").fingerprint() == half.fingerprint()
    assert Cell2SentenceModel.load(tmp_path / "half").net.dtype == torch.bfloat16


def test_damaged_folders_and_wrong_questions_are_named(model, tmp_path):
    model.save(tmp_path / "model")
    cfg = json.loads((tmp_path / "model" / "cfg.json").read_text())
    (tmp_path / "model" / "cfg.json").write_text(json.dumps({**cfg, "settings": {"prompts": "none"}}))
    with pytest.raises(InputError, match="damaged or of a newer version"):
        Cell2SentenceModel.load(tmp_path / "model")
    with pytest.raises(InputError, match=r"next_gene\(cells\)"):
        model.decode("cell", torch.zeros(2, 16), cells_of(4)[:2])
    with pytest.raises(InputError, match="has no site 'layer'"):
        model.activations(cells_of(), ["layer"])
    with pytest.raises(InputError, match="read it with token_activations"):
        model.activations(cells_of(), ["final"])
    with pytest.raises(InputError, match="cannot be written"):
        model.for_cells(cells_of(4, names=["two words"]))
