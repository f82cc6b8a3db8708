"""Geneformer: against plain loops, against transformers' own forward pass, alone and in batches, edited and not."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.base import TokenRows
from cellglass.models.coverage import GeneCoverage
from cellglass.models.geneformer.files import Dictionaries, GeneformerConfig, read_dictionary, weights_of
from cellglass.models.geneformer.model import GeneformerModel

GENES, WIDTH, HEADS, LAYERS = 40, 16, 4, 3


def ensembl(i: int) -> str:
    return f"ENSG{i:011d}"


def model_of(*, special: bool, layers: int = LAYERS, most: int = 24, seed: int = 0) -> GeneformerModel:
    """A model of random weights, all of them, biases and norms included, far from their first values."""
    extra = ["<pad>", "<mask>", "<cls>", "<eos>"] if special else ["<pad>", "<mask>"]
    tokens = {token: i for i, token in enumerate([*extra, *map(ensembl, range(GENES))])}
    medians = dict(zip(map(ensembl, range(GENES)), np.random.default_rng(1).uniform(0.5, 4, GENES), strict=True))
    names = {f"NAME{i}": ensembl(i) for i in range(GENES)}
    mapping = {ensembl(900 + i): ensembl(i) for i in range(5)} | {ensembl(i): ensembl(i) for i in range(GENES)}
    cfg = GeneformerConfig(len(tokens), WIDTH, layers, HEADS, 2 * WIDTH, most)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(tensor.shape, generator=generator) * (0.5 if "embeddings" in name else 0.25)
        + float("LayerNorm.weight" in name)
        for name, tensor in weights_of(cfg.new_net()).items()
    }
    return GeneformerModel(cfg, tensors, Dictionaries(tokens, medians, names, mapping))


def cells_of(n_cells: int = 64, seed: int = 0) -> Cells:
    """Cells of mixed lengths: some beyond the limit, one with a single gene, one without any."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.uniform(0.1, 2.5, (n_cells, 1)), (n_cells, GENES)).astype(np.float32)
    counts[3], counts[4] = 0, 0
    counts[4, 7] = 2
    ids = [ensembl(i) for i in range(GENES)]
    genes = pd.DataFrame({"symbol": [f"NAME{i}" for i in range(GENES)]}, index=pd.Index(ids, dtype=object))
    return Cells(sp.csr_matrix(counts), genes, pd.DataFrame(index=[f"c{i}" for i in range(n_cells)]))


@pytest.fixture(params=[False, True], ids=["V1", "V2"])
def model(request: pytest.FixtureRequest) -> GeneformerModel:
    return model_of(special=request.param)


@pytest.fixture
def cells() -> Cells:
    return cells_of()


# -- the reference: one cell, gene by gene, from the papers' words ---------------------------------------------------


def tokens_slowly(model: GeneformerModel, cells: Cells, i: int) -> list[tuple[int, int]]:
    """(token, gene) of each place; -1 where there is no gene."""
    tokens, medians = model.dictionaries.tokens, model.dictionaries.medians
    row = cells.counts[i].toarray()[0].astype(float)
    ranked = sorted((-(row[g] / row.sum() * 10_000 / medians[ensembl(g)]), g) for g in range(GENES) if row[g] > 0)
    special = "<cls>" in tokens
    found = [(tokens[ensembl(g)], g) for _, g in ranked][: model.cfg.max_position_embeddings - 2 * special]
    if special:
        return [(tokens["<cls>"], -1), *found, (tokens["<eos>"], -1)]
    return found or [(tokens["<pad>"], -1)]


def normed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / math.sqrt(((x - x.mean()) ** 2).mean() + 1e-12) * weight + bias


def slowly(model: GeneformerModel, tokens: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    """BERT by plain loops over places, heads and places that are attended to, in float64."""
    w = {name: tensor.double().numpy() for name, tensor in weights_of(model.net).items()}
    pair = lambda name: (w[f"{name}.weight"], w[f"{name}.bias"])  # noqa: E731
    linear = lambda name, x: w[f"{name}.weight"] @ x + w[f"{name}.bias"]  # noqa: E731
    parts = [w[f"bert.embeddings.{part}_embeddings.weight"] for part in ("word", "position", "token_type")]
    x = [
        normed(parts[0][token] + parts[1][place] + parts[2][0], *pair("bert.embeddings.LayerNorm"))
        for place, (token, _) in enumerate(tokens)
    ]
    seen = {"embed": np.stack(x)}
    size = WIDTH // HEADS
    for i in range(model.cfg.num_hidden_layers):
        layer = f"bert.encoder.layer.{i}"
        q, k, v = ([linear(f"{layer}.attention.self.{part}", a) for a in x] for part in ("query", "key", "value"))
        mixed = np.zeros((len(x), WIDTH))
        for a in range(len(x)):
            for head in range(HEADS):
                part = slice(head * size, (head + 1) * size)
                scores = [math.exp(q[a][part] @ k[b][part] / math.sqrt(size)) for b in range(len(x))]
                for b in range(len(x)):
                    mixed[a, part] += scores[b] / sum(scores) * v[b][part]
        out = [linear(f"{layer}.attention.output.dense", a) for a in mixed]
        middle = [normed(a + b, *pair(f"{layer}.attention.output.LayerNorm")) for a, b in zip(out, x, strict=True)]
        inner = [np.maximum(linear(f"{layer}.intermediate.dense", a), 0) for a in middle]
        added = [linear(f"{layer}.output.dense", a) for a in inner]
        x = [normed(a + b, *pair(f"{layer}.output.LayerNorm")) for a, b in zip(added, middle, strict=True)]
        seen |= {f"layers.{i}.attn.out": np.stack(out), f"layers.{i}.mlp.in": np.stack(middle)}
        seen |= {f"layers.{i}.mlp.out": np.stack(added), f"layers.{i}.resid": np.stack(x)}
        for head in range(HEADS):
            seen[f"layers.{i}.attn.head.{head}"] = mixed[:, head * size : (head + 1) * size]
    return seen


def cell_sites_slowly(tokens: list[tuple[int, int]], seen: dict[str, np.ndarray], layers: int) -> dict[str, np.ndarray]:
    """Means over gene tokens of the second-to-last and the last layer, and the first token of both."""
    genes = [place for place, (_, gene) in enumerate(tokens) if gene >= 0]
    hidden = [seen["embed"], *(seen[f"layers.{i}.resid"] for i in range(layers))]
    found = {}
    for name, states in (("", hidden[-2]), (".last", hidden[-1])):
        found[f"cell{name}"] = sum((states[g] for g in genes), np.zeros(WIDTH)) / max(1, len(genes))
        found[f"cls{name}"] = states[0]
    return found


def test_all_sites_equal_plain_loops_over_each_cell(model: GeneformerModel, cells: Cells) -> None:
    cells = cells[:12]
    rows = model.token_activations(cells, list(model.points))
    pooled = model.activations(cells, list(model.cell_sites))
    for i in range(cells.n_cells):
        tokens = tokens_slowly(model, cells, i)
        wanted = slowly(model, tokens)
        places = [place for place, (_, gene) in enumerate(tokens) if gene >= 0]
        for name, found in rows.items():
            assert found.gene[found.cell == i].tolist() == [tokens[place][1] for place in places]
            np.testing.assert_allclose(found.values[found.cell == i], wanted[name][places], atol=1e-5, err_msg=name)
        of_cells = cell_sites_slowly(tokens, wanted, LAYERS)
        for name, values in pooled.items():
            np.testing.assert_allclose(values[i], of_cells[name], atol=1e-5, err_msg=name)
    assert set(rows) == set(wanted)


def test_a_model_of_one_layer_has_the_embeddings_before_its_last_layer(cells: Cells) -> None:
    model = model_of(special=True, layers=1)
    found = model.activations(cells[:5], list(model.cell_sites))
    for i in range(5):
        tokens = tokens_slowly(model, cells, i)
        for name, wanted in cell_sites_slowly(tokens, slowly(model, tokens), 1).items():
            np.testing.assert_allclose(found[name][i], wanted, atol=1e-5, err_msg=name)


@torch.no_grad()
def test_hidden_states_and_logits_equal_transformers_own(model: GeneformerModel, cells: Cells) -> None:
    """The published layer: its tool takes ``hidden_states[n_layers - 1]`` for ``emb_layer=-1``."""
    lists = [tokens_slowly(model, cells, i) for i in range(cells.n_cells)]
    longest = max(map(len, lists))
    ids = torch.tensor([[t for t, _ in one] + [0] * (longest - len(one)) for one in lists])
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in lists])
    output = model.net(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    genes = torch.tensor([[g >= 0 for _, g in one] + [False] * (longest - len(one)) for one in lists])
    rows = model.token_activations(cells, ["embed", *(f"layers.{i}.resid" for i in range(LAYERS))])
    for hidden, found in zip(output.hidden_states, rows.values(), strict=True):
        torch.testing.assert_close(found.values, hidden[genes], atol=1e-5, rtol=0)
    kept = torch.stack([hidden[i][genes[i]].sum(0) / max(1, int(genes[i].sum()))
                        for hidden in output.hidden_states[LAYERS - 1 :] for i in range(len(lists))])  # fmt: skip
    found = model.activations(cells, ["cell", "cell.last"])
    torch.testing.assert_close(torch.cat([found["cell"], found["cell.last"]]), kept, atol=1e-5, rtol=0)
    first = model.dictionaries.tokens[ensembl(0)]
    logits = model.gene_logits(cells)
    torch.testing.assert_close(logits.values, output.logits[genes][:, first:], atol=1e-4, rtol=1e-5)
    some = model.gene_logits(cells, [5, 2])
    torch.testing.assert_close(some.values, logits.values[:, [5, 2]])
    assert (some.gene == logits.gene).all()


def test_a_cell_alone_and_among_64_shuffled_ones_agrees_at_every_site(model: GeneformerModel, cells: Cells) -> None:
    model.batch_tokens = 400
    order = np.random.default_rng(5).permutation(64)
    rows = model.token_activations(cells[order], list(model.points))
    pooled = model.activations(cells[order], list(model.cell_sites))
    for place, i in enumerate(order):
        alone = model.token_activations(cells[i : i + 1], list(model.points))
        for name, found in rows.items():
            here = found.cell == place
            assert (found.gene[here] == alone[name].gene).all()
            torch.testing.assert_close(found.values[here], alone[name].values, atol=1e-5, rtol=0, msg=name)
        for name, values in model.activations(cells[i : i + 1], list(model.cell_sites)).items():
            torch.testing.assert_close(pooled[name][place], values[0], atol=1e-5, rtol=0, msg=name)


def test_sites_are_named_with_their_widths(model: GeneformerModel) -> None:
    special = model.dictionaries.special
    cell_sites = ["cell", "cell.last", "cls", "cls.last"] if special else ["cell", "cell.last"]
    assert [s.name for s in model.sites.values() if s.granularity == "cell"] == cell_sites
    assert len(model.sites) == len(cell_sites) + 1 + LAYERS * (HEADS + 4)
    assert model.site("layers.2.attn.head.3").width == WIDTH // HEADS
    assert model.site("layers.0.mlp.in").width == model.site("cell").width == WIDTH
    with pytest.raises(InputError, match="no site 'z'"):
        model.site("z")
    with pytest.raises(InputError, match="read it with token_activations"):
        model.activations(cells_of(5), ["embed"])


# -- edits -------------------------------------------------------------------------------------------------------------


def test_a_swap_is_the_same_as_editing_the_counts_and_running_the_cell_alone(
    model: GeneformerModel, cells: Cells
) -> None:
    rng = np.random.default_rng(2)
    cell, gene = rng.integers(0, 64, 60), rng.integers(0, GENES, 60)
    count = rng.integers(0, 9, 60).astype(np.float32)
    cell[:2], gene[:2], count[:2] = [3, 4], [9, 7], [1, 0]  # the empty cell gets a gene, another loses its only one
    for name in model.cell_sites:
        found = model.perturbed_activations(cells, name, cell, gene, count)
        for k in range(60):
            dense = cells.counts[cell[k]].toarray()
            dense[0, gene[k]] = count[k]
            alone = Cells(sp.csr_matrix(dense), cells.genes, cells.obs.iloc[:1])
            torch.testing.assert_close(found[k], model.activations(alone, [name])[name][0], atol=1e-5, rtol=0)


def test_edits_that_change_nothing_change_nothing_and_others_do(model: GeneformerModel, cells: Cells) -> None:
    plain = model.activations(cells, ["cell", "cell.last"])
    same = {name: lambda rows: rows.values for name in model.points}
    edited, outputs = model.with_edits(cells, same, ["cell", "cell.last"])
    for name, values in plain.items():
        torch.testing.assert_close(edited[name], values, atol=1e-6, rtol=0)
    last = model.token_activations(cells, [f"layers.{LAYERS - 1}.resid"])[f"layers.{LAYERS - 1}.resid"]
    for batch, hidden in outputs:
        rows = model.rows(hidden, batch)
        for i in np.unique(rows.cell):
            torch.testing.assert_close(rows.values[rows.cell == i], last.values[last.cell == i], atol=1e-6, rtol=0)
    zero, _ = model.with_edits(cells, {f"layers.{LAYERS - 2}.resid": lambda rows: rows.values * 0}, ["cell"])
    assert torch.equal(zero["cell"], torch.zeros(64, WIDTH))


def test_a_head_that_is_written_reaches_the_output_map(model: GeneformerModel, cells: Cells) -> None:
    """Moving head 1's output by d moves what attention adds by W_o[:, head 1] d."""
    d = torch.linspace(-1, 1, WIDTH // HEADS)
    weight = weights_of(model.net)["bert.encoder.layer.0.attention.output.dense.weight"]
    size = WIDTH // HEADS
    seen = {}

    def keep(rows: TokenRows) -> torch.Tensor:
        seen["after"] = rows
        return rows.values

    model.with_edits(cells, {"layers.0.attn.head.1": lambda rows: rows.values + d, "layers.0.attn.out": keep})
    plain = model.token_activations(cells, ["layers.0.attn.out"])["layers.0.attn.out"]
    rows = seen["after"]  # of the last batch
    wanted = (
        torch.cat([plain.values[plain.cell == i] for i in dict.fromkeys(rows.cell)]) + weight[:, size : 2 * size] @ d
    )
    torch.testing.assert_close(rows.values, wanted, atol=1e-5, rtol=0)


def test_what_the_model_cannot_do_it_says(model: GeneformerModel, cells: Cells) -> None:
    with pytest.raises(InputError, match=r"not counts.*gene_logits"):
        model.decode("cell", torch.zeros(64, WIDTH), cells)
    with pytest.raises(InputError, match="no gradient with respect to counts"):
        model.path_gradient("cell", torch.zeros(64, GENES), cells)


# -- genes -------------------------------------------------------------------------------------------------------------


def relabelled(cells: Cells, index: list[str], **columns: list[str]) -> Cells:
    table = pd.DataFrame({"symbol": index, **columns}, index=pd.Index(index, dtype=object))
    return Cells(cells.counts[:, : len(index)], table, cells.obs)


def test_genes_are_found_by_id_by_collapsed_id_and_by_name(cells: Cells, caplog: pytest.LogCaptureFixture) -> None:
    model = model_of(special=True)
    by_id = relabelled(cells, [f"{ensembl(i)}.{i}" for i in range(10)])
    by_name = relabelled(cells, [f"NAME{i}" for i in range(10)])
    beside = relabelled(cells, [f"other{i}" for i in range(10)], ensembl=[ensembl(i) for i in range(10)])
    collapsed = relabelled(cells, [ensembl(900 + i) if i < 5 else ensembl(i) for i in range(10)])
    wanted = cells.counts.toarray()
    wanted[:, 10:] = 0
    for other in (by_id, by_name, beside, collapsed):
        found = model.align(other)
        assert sp.issparse(found.counts)
        assert found.genes.index is model.genes
        assert np.array_equal(found.counts.toarray(), wanted)
        assert model.coverage == GeneCoverage(10, 30, 0)
        assert list(found.symbols[:10]) == list(other.symbols)
        assert list(found.symbols[10:]) == [f"NAME{i}" for i in range(10, GENES)]
        assert model.align(found) is found
    with caplog.at_level(logging.INFO, "cellglass.models.geneformer"):
        model.align(by_name)
        model.align(by_name[5:9])
    assert len(caplog.records) == 1
    assert "10 found, 30 missing; 0 genes of the cells unknown" in caplog.text


def test_counts_that_go_to_one_gene_are_summed_and_a_name_never_joins_an_id(cells: Cells) -> None:
    model = model_of(special=True)
    twice = relabelled(cells, [ensembl(0), ensembl(900), "ENSG99999999999", "NAME0", "NAME7"])
    found = model.align(twice).counts.toarray()
    dense = cells.counts.toarray()
    assert np.array_equal(found[:, 0], dense[:, 0] + dense[:, 1])
    assert np.array_equal(found[:, 7], dense[:, 4])
    assert found.sum() == dense[:, [0, 1, 4]].sum()
    assert model.coverage == GeneCoverage(2, 38, 2)


def test_cells_of_other_genes_are_refused(model: GeneformerModel, cells: Cells) -> None:
    for read in (model.align, model.for_cells):
        with pytest.raises(InputError, match="none of the 40 wanted genes"):
            read(relabelled(cells, ["x", "y"]))


def test_narrowed_to_the_genes_of_the_cells_it_reads_them_as_before(
    model: GeneformerModel, cells: Cells, tmp_path: Path
) -> None:
    """By id, by collapsed id and by name, not in the model's order; saved and read again too."""
    assert model.for_cells(cells) is model
    some = relabelled(cells, [ensembl(30), "NAME7", ensembl(902), ensembl(1), "unknown"])
    narrow = model.for_cells(some)
    narrow.save(tmp_path / "narrow")
    for one in (narrow, GeneformerModel.load(tmp_path / "narrow")):
        assert one.genes.tolist() == [ensembl(1), ensembl(2), ensembl(7), ensembl(30)]
        assert np.array_equal(one.align(some).counts.toarray(), cells.counts.toarray()[:, [3, 2, 1, 0]])
        assert one.coverage == GeneCoverage(4, 0, 1)
        for name, values in model.activations(some, list(model.cell_sites)).items():
            assert torch.equal(one.activations(some, [name])[name], values)
        found, wide = (m.token_activations(some, ["layers.1.mlp.in"])["layers.1.mlp.in"] for m in (one, model))
        assert torch.equal(found.values, wide.values)
        assert one.genes[found.gene].tolist() == model.genes[wide.gene].tolist()
    assert len(model.genes) == GENES


def test_a_gene_without_a_median_is_none_of_the_models() -> None:
    whole = model_of(special=False)
    medians = {gene: median for gene, median in whole.dictionaries.medians.items() if gene != ensembl(3)}
    medians["ENSG99999999999"] = 1.0  # nor is one without a token
    model = GeneformerModel(whole.cfg, weights_of(whole.net), Dictionaries(whole.dictionaries.tokens, medians))
    assert list(model.genes) == [ensembl(i) for i in range(GENES) if i != 3]
    cells = cells_of(5)
    assert model.tokenise(model.align(cells)).ids.max() == GENES + 1
    logits = model.gene_logits(cells)
    assert logits.values.shape[1] == GENES - 1
    without = cells.counts.toarray()
    without[:, 3] = 0
    wanted = whole.gene_logits(cells.with_counts(sp.csr_matrix(without))).values
    torch.testing.assert_close(logits.values, wanted[:, [i for i in range(GENES) if i != 3]])


# -- saved and read again ----------------------------------------------------------------------------------------------


def test_saved_and_read_again_it_is_the_same_model(model: GeneformerModel, cells: Cells, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = GeneformerModel.load(tmp_path / "model")
    assert again.fingerprint() == model.fingerprint()
    assert again.dictionaries == model.dictionaries
    for name, values in model.activations(cells, list(model.cell_sites)).items():
        assert torch.equal(values, again.activations(cells, [name])[name])
    assert model_of(special=model.dictionaries.special, seed=1).fingerprint() != model.fingerprint()
    assert model_of(special=model.dictionaries.special, most=23).fingerprint() != model.fingerprint()


def test_loading_and_running_leave_the_random_state_alone(tmp_path: Path) -> None:
    model_of(special=False).save(tmp_path / "model")
    state = torch.random.get_rng_state()
    GeneformerModel.load(tmp_path / "model").activations(cells_of(5), ["cell"])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_published_dictionaries_of_v1(real_data: Path) -> None:
    """25,424 genes: the demo cells find theirs by name, are never dense, and their tokens are as by plain loops."""
    from cellglass.cells import demo_cells

    held = [read_dictionary(real_data / "vocab" / f"geneformer_v1_{name}.json")
            for name in ("token_dictionary", "gene_median_dictionary", "gene_name_id_dict")]  # fmt: skip
    cfg = GeneformerConfig(len(held[0]), 8, 1, 2, 16)
    model = GeneformerModel(cfg, weights_of(cfg.new_net()), Dictionaries(*held))
    assert len(model.genes) == 25_424
    cells = demo_cells()[:40]
    aligned = model.align(cells)
    assert model.coverage is not None
    assert model.coverage.found > 650
    assert model.coverage.found + model.coverage.unknown == cells.n_genes
    assert aligned.counts.nnz <= cells.counts.nnz
    tokens = model.tokenise(aligned)
    for i in range(40):
        row = cells.counts[i]
        values = []
        for column, count in zip(row.indices, row.data, strict=True):
            gene = held[2].get(cells.genes.index[column])
            if gene in held[0]:
                values.append((-float(count) / held[1][gene], held[0][gene]))
        assert tokens.ids[tokens.start[i] : tokens.start[i + 1]].tolist() == [token for _, token in sorted(values)]
    assert model.activations(cells, ["cell"])["cell"].shape == (40, 8)
