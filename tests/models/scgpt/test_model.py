from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.edits import edited_cells
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.model import MOST_DECODED, ScgptModel
from cellglass.models.scgpt.net import ScgptNet


def model_of(symbols, *, specials_first=False, **options):
    specials = ["<pad>", "<cls>", "<eoc>"]
    tokens = [*specials, *symbols] if specials_first else [*symbols, *specials]
    vocab = {token: i for i, token in enumerate(tokens)}
    cfg = ScgptConfig(
        **{"n_tokens": len(vocab), "width": 16, "n_layers": 2, "n_heads": 4, "hidden": 12, **options},
        pad_id=vocab["<pad>"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ScgptNet(cfg)
        for tensor in net.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape) * 0.4)
    return ScgptModel(net.eval().requires_grad_(False), vocab)


def mixed_cells(n_cells=64, n_genes=120, seed=0):
    """Cells of 0 to about 100 genes."""
    rng = np.random.default_rng(seed)
    depth = rng.choice([0.0, 0.05, 0.5, 3.0], (n_cells, 1))
    counts = sp.csr_matrix(rng.poisson(rng.gamma(0.7, 1, (n_cells, n_genes)) * depth).astype(np.float32))
    names = [f"S{i}" for i in range(n_genes)]
    return Cells(counts, pd.DataFrame({"symbol": names}, index=names), pd.DataFrame(index=map(str, range(n_cells))))


@pytest.fixture
def cells():
    return mixed_cells()


@pytest.fixture
def model(cells):
    return model_of(cells.symbols)


def read(model, cells):
    """All sites: activations by cell site, rows by token site."""
    token_sites = [name for name, site in model.sites.items() if site.granularity == "token"]
    return model.activations(cells, ["cell", "cell.raw"]), model.token_activations(cells, token_sites)


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_length", [1200, 20])
def test_tokens_equal_a_plain_loop(cells, max_length):
    model = model_of(cells.symbols, specials_first=True, max_length=max_length)
    found = model.tokenise(model.align(cells))
    assert found.lengths.max() == (20 if max_length == 20 else found.lengths.max())
    for i, row in enumerate(cells.counts.toarray()):
        held = [g for g in range(cells.n_genes) if row[g] > 0]
        edges = np.quantile(row[held], np.linspace(0, 1, 50)) if held else []
        kept = sorted(sorted(held, key=lambda g: (-row[g], g))[: max_length - 1])
        part = slice(found.start[i], found.start[i + 1])
        assert found.gene[part].tolist() == [-1, *kept]
        assert found.ids[part].tolist() == [1, *(g + 3 for g in kept)]
        assert found.value[part][0] == -2
        for g, value in zip(kept, found.value[part][1:], strict=True):
            assert value == (np.sum(edges < row[g]) + 1 + np.sum(edges <= row[g])) // 2


def test_a_gene_beyond_the_cut_still_moves_the_bins(cells):
    """Bins are taken over all of a cell's genes before the cut, as published."""
    model = model_of(cells.symbols, max_length=6)
    row = int(np.argmax(np.diff(cells.counts.indptr)))
    dense = cells.counts.toarray()[row]
    lowest = np.flatnonzero(dense == dense[dense > 0].min())[-40:]
    fewer = dense.copy()
    fewer[lowest] = 0
    both = cells[[row, row]].with_counts(sp.csr_matrix(np.stack([dense, fewer])))
    tokens = model.tokenise(both)
    assert tokens.gene[:6].tolist() == tokens.gene[6:].tolist()
    assert tokens.value[:6].tolist() != tokens.value[6:].tolist()


# -- activations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", [{}, {"pre_norm": True}])
def test_one_cell_alone_reads_what_it_reads_among_64(cells, style):
    model = model_of(cells.symbols, **style)
    order = np.random.default_rng(3).permutation(64)
    cell_sites, token_sites = read(model, cells[order])
    lengths = np.diff(cells.counts.indptr)
    assert len(np.unique(lengths)) > 20
    for i in (0, 5, 17, 40, 63, int(np.flatnonzero(lengths[order] == 0)[0])):
        alone_cells, alone_tokens = read(model, cells[order[i : i + 1]])
        for name, values in alone_cells.items():
            torch.testing.assert_close(values[0], cell_sites[name][i], rtol=1e-5, atol=1e-5)
        for name, rows in alone_tokens.items():
            mine = token_sites[name].cell == i
            np.testing.assert_array_equal(rows.gene, token_sites[name].gene[mine])
            torch.testing.assert_close(rows.values, token_sites[name].values[mine], rtol=1e-5, atol=1e-5)


def test_sites_are_what_they_are_called(cells, model):
    cell_sites, rows = read(model, cells)
    assert next(iter(model.sites)) == "cell"
    assert {site.granularity for name, site in model.sites.items() if "cell" in name} == {"cell"}
    torch.testing.assert_close(cell_sites["cell"].norm(dim=1), torch.ones(64))
    raw = cell_sites["cell.raw"]
    torch.testing.assert_close(cell_sites["cell"], raw / raw.norm(dim=1, keepdim=True))
    state, norm = model.net.state_dict(), torch.nn.functional.layer_norm
    for i in range(2):
        layer = f"transformer_encoder.layers.{i}"
        out = state[f"{layer}.self_attn.out_proj.weight"]
        heads = [rows[f"layers.{i}.attn.head.{h}"].values @ out[:, 4 * h : 4 * h + 4].T for h in range(4)]
        attended = sum(heads) + state[f"{layer}.self_attn.out_proj.bias"]
        torch.testing.assert_close(attended, rows[f"layers.{i}.attn.out"].values, rtol=1e-5, atol=1e-5)
        before = rows["embed" if i == 0 else "layers.0.resid"].values
        w = {name: state[f"{layer}.{name}"] for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")}
        mlp_in, mlp_out = rows[f"layers.{i}.mlp.in"].values, rows[f"layers.{i}.mlp.out"].values
        torch.testing.assert_close(norm(before + attended, (16,), w["norm1.weight"], w["norm1.bias"]), mlp_in)
        inner = torch.relu(mlp_in @ state[f"{layer}.linear1.weight"].T + state[f"{layer}.linear1.bias"])
        torch.testing.assert_close(
            inner @ state[f"{layer}.linear2.weight"].T + state[f"{layer}.linear2.bias"], mlp_out, rtol=1e-5, atol=1e-5
        )
        after = norm(mlp_in + mlp_out, (16,), w["norm2.weight"], w["norm2.bias"])
        torch.testing.assert_close(after, rows[f"layers.{i}.resid"].values, rtol=1e-5, atol=1e-5)


def test_a_swap_is_an_edit_of_the_counts_and_a_run_alone(cells, model):
    rng = np.random.default_rng(1)
    cell, gene = rng.integers(0, 64, 30), rng.integers(0, 120, 30)
    count = rng.integers(0, 9, 30).astype(np.float32)
    for site in ("cell", "cell.raw"):
        found = model.perturbed_activations(cells, site, cell, gene, count)
        for i in range(30):
            dense = cells.counts.toarray()[cell[i]]
            dense[gene[i]] = count[i]
            alone = cells[cell[i : i + 1]].with_counts(sp.csr_matrix(dense[None]))
            torch.testing.assert_close(found[i], model.activations(alone, [site])[site][0], rtol=1e-5, atol=1e-5)


def test_edits_that_change_nothing_change_nothing_and_others_do(cells, model):
    sites = ("cell", "cell.raw")
    token_sites = [name for name, site in model.sites.items() if site.granularity == "token"]
    plain = model.activations(cells, sites)
    kept, outputs = model.with_edits(cells, {name: lambda rows: rows.values for name in token_sites}, sites)
    for name in sites:
        assert torch.equal(kept[name], plain[name])
    assert sum(len(batch.cells) for batch, _ in outputs) == 64
    moved, _ = model.with_edits(cells, {"layers.0.attn.head.2": lambda rows: rows.values * 0}, sites)
    empty = np.diff(cells.counts.indptr) == 0
    assert torch.equal(moved["cell"][torch.from_numpy(empty)], plain["cell"][torch.from_numpy(empty)])
    assert (moved["cell"] - plain["cell"])[torch.from_numpy(~empty)].abs().amax(1).min() > 0


def test_sites_of_the_other_granularity_are_refused(cells, model):
    with pytest.raises(InputError, match="one row for each gene"):
        model.activations(cells, ["layers.0.resid"])
    with pytest.raises(InputError, match="one row for each cell"):
        model.token_activations(cells, ["cell"])
    with pytest.raises(InputError, match=r"no site 'z'; its sites are: cell, cell.raw, embed"):
        model.activations(cells, ["z"])


# -- genes -------------------------------------------------------------------------------------------------------------


def renamed(cells, index, symbols):
    return Cells(cells.counts, pd.DataFrame({"symbol": symbols}, index=index), cells.obs, {}, "renamed")


def test_genes_are_matched_by_id_then_by_symbol_and_summed(cells, model, caplog):
    few = cells.select_genes(range(5))
    other = renamed(few, ["S7", "ENSG1", "ENSG2", "ENSG3", "x"], ["S7", "S8", "S8", "S7", "unknown"])
    found = model.match(other)
    assert found.target.tolist() == [7, 8, 8, -1, -1]
    assert found.coverage == (2, 118, 2)
    with caplog.at_level("INFO"):
        aligned = model.align(other)
        model.align(other[:3])
    assert caplog.text.count("of the scgpt model's genes 2 found, 118 missing; 2 genes of the cells unknown") == 1
    dense, before = aligned.counts.toarray(), few.counts.toarray()
    np.testing.assert_array_equal(dense[:, 7], before[:, 0])
    np.testing.assert_array_equal(dense[:, 8], before[:, 1] + before[:, 2])
    assert dense.sum() == before[:, :3].sum()
    assert model.align(aligned) is aligned


@pytest.mark.parametrize("use", ["align", "for_cells"])
def test_cells_of_no_known_gene_are_refused(cells, model, use):
    with pytest.raises(InputError, match="none of the 120 genes"):
        getattr(model, use)(renamed(cells, [f"x{i}" for i in range(120)], [f"y{i}" for i in range(120)]))


def test_cells_that_hold_every_gene_narrow_nothing(cells, model):
    assert model.for_cells(cells) is model


def test_a_large_vocabulary_stays_sparse_and_narrowing_changes_no_activation(cells):
    symbols = [f"other{i}" for i in range(40_000)]
    symbols[100:16_900:140] = reversed(cells.symbols)  # not in the order of the cells
    model = model_of(symbols, specials_first=True, max_length=30)
    shuffled = cells.select_genes(np.random.default_rng(0).permutation(120))
    aligned = model.align(shuffled)
    assert (aligned.n_genes, aligned.counts.nnz) == (40_000, cells.counts.nnz)
    narrow = model.for_cells(shuffled)
    assert narrow.genes.tolist() == list(reversed(cells.symbols.tolist()))
    (wide_cells, wide_rows), (cell_sites, rows) = read(model, shuffled), read(narrow, shuffled)
    assert all(torch.equal(cell_sites[name], wide_cells[name]) for name in cell_sites)
    for name in rows:
        assert torch.equal(rows[name].values, wide_rows[name].values)
        assert narrow.genes[rows[name].gene].tolist() == model.genes[wide_rows[name].gene].tolist()
    change = (np.array([3, 9]), np.array([50, 7]), np.array([4, 0], dtype=np.float32))
    wide_gene = model.genes.get_indexer(narrow.genes[change[1]])
    assert torch.equal(
        narrow.perturbed_activations(narrow.align(shuffled), "cell", *change),
        model.perturbed_activations(aligned, "cell", change[0], wide_gene, change[2]),
    )


# -- decoding ----------------------------------------------------------------------------------------------------------


def test_expression_is_read_off_a_cell_gene_by_gene(cells, model):
    raw = model.activations(cells[:6], ["cell.raw"])["cell.raw"]
    found = model.decode("cell.raw", raw, cells[:6])
    assert found.shape == (6, 120)
    w = model.net.state_dict()
    for g in (0, 17, 119):
        gene = w["encoder.embedding.weight"][model.vocab[f"S{g}"]]
        gene = torch.nn.functional.layer_norm(gene, (16,), w["encoder.enc_norm.weight"], w["encoder.enc_norm.bias"])
        query = torch.sigmoid(w["mvc_decoder.gene2query.weight"] @ gene + w["mvc_decoder.gene2query.bias"])
        for i in range(6):
            torch.testing.assert_close(found[i, g], (w["mvc_decoder.W.weight"] @ query) @ raw[i], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.decode("cell.raw", raw, cells[:6], genes=[17, 0]), found[:, [17, 0]])
    unit = model.activations(cells[:6], ["cell"])["cell"]
    torch.testing.assert_close(model.decode("cell", unit, cells[:6]), found, rtol=1e-4, atol=1e-5)
    some = cells[3:6]
    for _ in range(2):  # other cells have other lengths, and the same cells keep theirs
        torch.testing.assert_close(model.decode("cell", unit[3:], some), found[3:], rtol=1e-4, atol=1e-5)


def test_expression_is_read_off_the_tokens_of_the_last_layer(cells, model):
    rows = model.token_activations(cells, ["layers.1.resid"])["layers.1.resid"]
    found = model.decode("layers.1.resid", rows.values, cells)
    _, outputs = model.with_edits(cells, {})
    for batch, output in outputs:
        for i, cell in enumerate(batch.cells):
            expected = output.expression[i][batch.gene[i] >= 0]
            torch.testing.assert_close(found[torch.from_numpy(rows.cell == cell)], expected, rtol=1e-5, atol=1e-5)


def test_what_cannot_be_decoded_says_so(cells, model):
    x = torch.zeros(64, 16)
    for site in ("layers.0.resid", "embed"):
        with pytest.raises(InputError, match=r"decodes from cell, cell.raw or layers.1.resid, not from"):
            model.decode(site, x, cells)
    decodes = [site for site in model.sites if model.lacks("decode", site) is None]
    assert decodes == ["cell", "cell.raw", "layers.1.resid"]
    with pytest.raises(InputError, match="no mvc_decoder"):
        model_of(cells.symbols, mvc=False).decode("cell.raw", x, cells)
    wide = model_of([*cells.symbols, *(f"other{i}" for i in range(MOST_DECODED))])
    with pytest.raises(InputError, match=r"model.for_cells\(cells\)"):
        wide.decode("cell.raw", x, cells)
    assert wide.decode("cell.raw", x, cells, genes=[3]).shape == (64, 1)
    assert wide.for_cells(cells).decode("cell.raw", x, cells).shape == (64, 120)
    with pytest.raises(InputError, match="no gradient"):
        model.path_gradient("cell", torch.zeros(1, 120), cells[:1])


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize(
    "style", [{}, {"value_style": "category", "n_values": 53, "pad_value": 51, "mask_value": 52}, {"pre_norm": True}]
)
def test_a_saved_model_is_the_model(cells, tmp_path, narrow, style):
    model = model_of([*cells.symbols, "more", "genes"], **style)
    if narrow:
        model = model.for_cells(cells.select_genes(range(50)))
    model.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "args.json", "vocab.json", "best_model.pt", "cfg.json"
    }  # fmt: skip
    again = ScgptModel.load(tmp_path / "model")
    assert again.fingerprint() == model.fingerprint()
    assert again.genes.equals(model.genes)
    assert len(again.genes) == (50 if narrow else 122)
    assert again.cfg == model.cfg
    for before, after in zip(read(model, cells), read(again, cells), strict=True):
        for name in before:
            rows = [x.values if hasattr(x, "gene") else x for x in (before[name], after[name])]
            assert torch.equal(*rows)


def test_a_fingerprint_sees_weights_genes_and_numbers(cells, model):
    seen = {model.fingerprint(), model.for_cells(cells.select_genes(range(9))).fingerprint()}
    seen.add(model_of(cells.symbols, pre_norm=True).fingerprint())
    seen.add(model_of(cells.symbols[::-1]).fingerprint())
    with torch.no_grad():
        model.net.decoder.fc[4].bias += 1
    assert len({*seen, model.fingerprint()}) == 5


def test_edited_cells_go_through_the_models_own_preprocessing(cells, model):
    """A count that only reorders the bins of the other genes changes their tokens too."""
    row = int(np.argmax(np.diff(cells.counts.indptr)))
    gene = int(cells.counts[row].indices[0])
    edited = edited_cells(cells, np.array([row]), np.array([gene]), np.array([500], dtype=np.float32))
    before, after = model.tokenise(cells[[row]]), model.tokenise(edited)
    others = before.gene != gene
    assert before.gene.tolist() == after.gene.tolist()
    assert (before.value[others] != after.value[others]).any()


def test_genes_beyond_the_length_can_be_drawn_by_seed_and_name(cells, model, tmp_path):
    short = ScgptModel(ScgptNet(replace(model.cfg, max_length=9)).eval(), model.vocab)
    drawn = short.sampled(3)
    order = np.random.default_rng(0).permutation(cells.n_cells)
    tokens, shuffled = drawn.tokenise(cells), drawn.tokenise(cells[order])
    assert tokens.lengths.max() == 9
    moved = 0
    for row, cell in enumerate(order):
        mine = tokens.gene[tokens.start[cell] : tokens.start[cell + 1]]
        assert (shuffled.gene[shuffled.start[row] : shuffled.start[row + 1]] == mine).all()
        highest = short.tokenise(cells[[cell]]).gene
        moved += len(highest) == 9 and set(highest) != set(mine)
    assert moved > cells.n_cells / 2
    assert (short.sampled(4).tokenise(cells).gene != tokens.gene).any()
    # A swap of a gene that stays counted leaves the draw as it was: the cell is still itself.
    cell = int(np.argmax(np.diff(cells.counts.indptr)))
    gene = int(cells.counts[cell].indices[0])
    edited = edited_cells(cells, np.array([cell]), np.array([gene]), np.array([50], dtype=np.float32))
    assert (drawn.tokenise(edited).gene == tokens.gene[tokens.start[cell] : tokens.start[cell + 1]]).all()
    drawn.save(tmp_path / "model")
    again = ScgptModel.load(tmp_path / "model")
    assert again.sample_seed == 3
    assert again.fingerprint() == drawn.fingerprint() != short.fingerprint()
