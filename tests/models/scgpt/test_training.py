import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.scgpt.model import ScgptModel
from cellglass.models.scgpt.training import MOST_STEPS, rate, usual_epochs, vocabulary

fit = ScgptModel.fit
SMALL = {"layers": 1, "width": 16, "heads": 2, "tokens": 12, "batch": 16}


class KilledError(Exception):
    pass


def stop_after(epoch):
    def progress(_what, done, _total):
        if done == epoch:
            raise KilledError

    return progress


def same(a, b):
    a, b = a.net.state_dict(), b.net.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def cells(make_cells):
    return make_cells(n_cells=50, n_genes=40)


def test_same_seed_same_weights_and_nothing_else_touched(cells, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    state, count = torch.random.get_rng_state(), torch.get_num_threads()
    first = fit(cells, epochs=2, dropout=0.1, **SMALL)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == count
    torch.rand(3)
    assert same(first, fit(cells, epochs=2, dropout=0.1, **SMALL))
    assert not same(first, fit(cells, epochs=2, dropout=0.1, seed=1, **SMALL))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert not first.net.training
    assert not any(parameter.requires_grad for parameter in first.net.parameters())


@pytest.mark.parametrize("killed_after", [1, 4, 5])
def test_a_killed_run_goes_on_to_the_same_weights(cells, tmp_path, killed_after):
    options = {**SMALL, "epochs": 6, "dropout": 0.1}
    whole = fit(cells, **options)
    checkpoint = tmp_path / "deep" / "scgpt.safetensors"
    with pytest.raises(KilledError):
        fit(cells, checkpoint=checkpoint, progress=stop_after(killed_after), **options)
    heard = []
    resumed = fit(cells, checkpoint=checkpoint, progress=lambda *step: heard.append(step), **options)
    assert same(whole, resumed)
    assert heard[0] == ("scGPT epochs", killed_after // 2 * 2, 6)
    assert heard[-1] == ("scGPT epochs", 6, 6)


def test_a_checkpoint_of_another_run_or_a_broken_one_is_not_used(cells, make_cells, tmp_path, caplog):
    checkpoint = tmp_path / "c"
    expected = fit(cells, epochs=2, **SMALL)
    fit(make_cells(n_cells=50, n_genes=40, seed=5), epochs=2, checkpoint=checkpoint, **SMALL)
    assert same(expected, fit(cells, epochs=2, checkpoint=checkpoint, **SMALL))
    heard = []
    assert same(expected, fit(cells, epochs=2, checkpoint=checkpoint, progress=lambda *s: heard.append(s), **SMALL))
    assert heard == [("scGPT epochs", 2, 2)]
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    assert same(expected, fit(cells, epochs=2, checkpoint=checkpoint, **SMALL))
    assert "cannot be read" in caplog.text


def test_a_fitted_model_is_saved_in_the_published_layout(cells, tmp_path):
    model = fit(cells, epochs=1, **SMALL)
    model.save(tmp_path / "model")
    args = json.loads((tmp_path / "model" / "args.json").read_text())
    wanted = {"embsize": 16, "nlayers": 1, "nheads": 2, "d_hid": 16, "n_bins": 51, "pad_value": -2, "mask_value": -1,
              "pad_token": "<pad>", "input_style": "binned", "input_emb_style": "continuous", "dropout": 0.0,
              "n_layers_cls": 3, "max_seq_len": 1200}  # fmt: skip
    assert {name: args[name] for name in wanted} == wanted
    vocab = json.loads((tmp_path / "model" / "vocab.json").read_text())
    assert list(vocab) == [*cells.symbols, "<pad>", "<cls>", "<eoc>"]
    names = torch.load(tmp_path / "model" / "best_model.pt", weights_only=True)
    assert {"transformer_encoder.layers.0.self_attn.Wqkv.weight", "flag_encoder.weight"} <= set(names)
    (tmp_path / "model" / "cfg.json").unlink()  # as others would publish it
    again = ScgptModel.load(tmp_path / "model")
    assert again.fingerprint() == model.fingerprint()
    found, expected = again.activations(cells, ["cell"])["cell"], model.activations(cells, ["cell"])["cell"]
    assert torch.equal(found, expected)


def test_symbols_are_the_vocabulary_each_once(cells):
    genes = cells.genes.assign(symbol=["B", "A", "B", "<cls>", *(f"x{i}" for i in range(36))])
    other = Cells(cells.counts, genes, cells.obs)
    assert list(vocabulary(other))[:4] == ["B", "A", "x0", "x1"]
    assert list(vocabulary(other))[-3:] == ["<pad>", "<cls>", "<eoc>"]
    model = fit(other, epochs=1, **SMALL)
    aligned = model.align(other).counts.toarray()
    dense = cells.counts.toarray()
    np.testing.assert_array_equal(aligned[:, 0], dense[:, 0] + dense[:, 2])


# -- what is learnt ----------------------------------------------------------------------------------------------------


def test_the_rate_rises_and_falls():
    rates = [rate(step, 100) for step in range(100)]
    assert int(np.argmax(rates)) in (9, 10)
    assert max(rates) == 1.0
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[0] > 0
    assert 0 < rates[-1] < 0.01
    assert rate(0, 1) == 1.0


@pytest.mark.parametrize("n_cells", [0, 1, 700, 3000, 3874, 20_000, 10**7])
def test_more_cells_are_passed_over_less_often(n_cells):
    epochs, steps = usual_epochs(n_cells, 32), int(np.ceil(n_cells / 32))
    assert 1 <= epochs <= 16
    assert epochs == 1 or epochs * steps <= MOST_STEPS
    assert epochs == 8 or (epochs + 1) * steps > MOST_STEPS


def planted(n_cells=240, n_genes=60):
    """Two kinds of cells; a third of the genes is high in each, a third in both."""
    rng = np.random.default_rng(0)
    kind = np.arange(n_cells) % 2
    profile = np.full((2, n_genes), 2.0)
    profile[0, :20], profile[1, :20] = 4.0, 0.2
    profile[0, 20:40], profile[1, 20:40] = 0.2, 4.0
    counts = sp.csr_matrix(rng.poisson(profile[kind] * rng.gamma(8, 1 / 8, (n_cells, 1))).astype(np.float32))
    names = [f"g{i}" for i in range(n_genes)]
    return Cells(
        counts, pd.DataFrame({"symbol": names}, index=names), pd.DataFrame(index=map(str, range(n_cells)))
    ), kind


def test_training_finds_two_planted_kinds_of_cells():
    """On cells that were not trained on, the cell head reads each kind's own genes off the embedding."""
    cells, kind = planted()
    model = fit(cells[:200], epochs=25, **{**SMALL, "tokens": 40, "width": 32})
    rest, kind = cells[200:], kind[200:]
    embedding = model.activations(rest, ["cell", "cell.raw"])
    values = model.decode("cell.raw", embedding["cell.raw"], rest).numpy()
    difference = values[:, :20].mean(axis=1) - values[:, 20:40].mean(axis=1)
    assert (difference[kind == 0] > 5).all()
    assert (difference[kind == 1] < -5).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": -1}, "epochs is -1"),
        ({"mask_ratio": 1.0}, r"mask_ratio is 1.0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"lr": 1e-3}, "no setting 'lr'; the settings are: epochs, batch"),
        ({"width": 15}, "no multiple of the 2 heads"),
    ],
)
def test_settings_that_cannot_be_are_named(cells, wrong, message):
    with pytest.raises(InputError, match=message):
        fit(cells, **{**SMALL, **wrong})


def test_cells_without_counts_are_refused(cells):
    with pytest.raises(InputError, match="no cell counts a gene"):
        fit(cells.with_counts(sp.csr_matrix(cells.counts.shape, dtype=np.float32)), **SMALL)
