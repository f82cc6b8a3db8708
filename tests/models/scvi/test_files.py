import logging
import os
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass import models
from cellglass.errors import InputError


def train_with_scvi_tools(cells, folder, setup, **options):
    """Fit for two epochs with scvi-tools itself, save with its own save, and return its latent representation."""
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        import scvi

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        adata = cells.to_anndata()
        adata.obs["number"] = np.arange(len(adata), dtype=float)
        scvi.model.SCVI.setup_anndata(adata, **setup)
        model = scvi.model.SCVI(adata, n_latent=5, n_hidden=12, **options)
        model.train(2, accelerator="cpu", enable_progress_bar=False, logger=False, enable_checkpointing=False)
        model.save(str(folder), overwrite=True)
        return model.get_latent_representation()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))  # Lightning writes where it is run


SAVED = {
    "plain": ({}, {}),
    "batch": ({"batch_key": "donor"}, {}),
    "covariates": (
        {"batch_key": "donor", "categorical_covariate_keys": ["lab"]},
        {"encode_covariates": True, "n_layers": 2},
    ),
    "norms": ({"batch_key": "lab"}, {"use_layer_norm": "both", "use_batch_norm": "none", "gene_likelihood": "nb"}),
    "labels": ({"labels_key": "donor"}, {"dispersion": "gene-label"}),
}


@pytest.mark.parametrize("name", SAVED)
def test_a_model_saved_by_scvi_tools_gives_its_latents(make_cells, tmp_path, name):
    cells = make_cells(n_cells=60)
    setup, options = SAVED[name]
    expected = train_with_scvi_tools(cells, tmp_path / "saved", setup, **options)
    model = models.load(tmp_path / "saved")
    np.testing.assert_allclose(model.activations(cells, ["z"])["z"].numpy(), expected, rtol=1e-5, atol=1e-5)
    assert model.genes.equals(cells.genes.index)
    model.save(tmp_path / "ours")
    assert models.load(tmp_path / "ours").fingerprint() == model.fingerprint()


def test_a_training_history_is_left_behind(cells, tmp_path):
    expected = train_with_scvi_tools(cells, tmp_path / "saved", {})
    path = tmp_path / "saved" / "model.pt"
    saved = torch.load(path, weights_only=False)
    saved["attr_dict"]["history_"] = {"elbo": pd.DataFrame({"elbo": [1.0, 2.0]}, index=pd.Index([0, 1], name="epoch"))}
    torch.save(saved, path)
    found = models.load(tmp_path / "saved").activations(cells, ["z"])["z"]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


class Malicious:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("hidden_in", ["beside", "history", "weights"])
def test_a_malicious_file_is_refused_and_not_run(cells, tmp_path, hidden_in):
    train_with_scvi_tools(cells, tmp_path / "saved", {})
    path, trace = tmp_path / "saved" / "model.pt", tmp_path / "it-ran"
    saved = torch.load(path, weights_only=False)
    bomb = Malicious(f"touch {trace}")
    target = {"beside": saved, "history": saved["attr_dict"], "weights": saved["model_state_dict"]}[hidden_in]
    target["history_"] = bomb
    torch.save(saved, path)
    with pytest.raises(InputError, match=r"is refused: it would run \w+\.system") as error:
        models.load(tmp_path / "saved")
    assert "\n" not in str(error.value)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # an ordinary reader would have run it
    assert trace.exists()


def test_what_is_not_supported_is_named(cells, tmp_path):
    cases = {
        "continuous covariates": ({"continuous_covariate_keys": ["number"]}, {}),
        "latent_distribution='ln'": ({}, {"latent_distribution": "ln"}),
        "log_variational=False": ({}, {"log_variational": False}),
    }
    for message, (setup, options) in cases.items():
        train_with_scvi_tools(cells, tmp_path / "saved", setup, **options)
        with pytest.raises(InputError, match=f"{message}.*does not support"):
            models.load(tmp_path / "saved")


def test_damaged_files_are_refused(make_model, cells, tmp_path):
    (tmp_path / "torch").mkdir()
    torch.save({"weights": torch.zeros(2)}, tmp_path / "torch" / "model.pt")
    with pytest.raises(InputError, match="no model that scvi-tools"):
        models.load(tmp_path / "torch")
    (tmp_path / "torch" / "model.pt").write_bytes(b"not a torch file")
    with pytest.raises(InputError, match=r"model\.pt"):
        models.load(tmp_path / "torch")
    model, _ = make_model("batch", cells)
    model.save(tmp_path / "ours")
    weights = tmp_path / "ours" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(InputError, match="is damaged"):
        models.load(tmp_path / "ours")
    cfg = tmp_path / "ours" / "cfg.json"
    model.save(tmp_path / "ours")
    for before, after, message in (
        ('"n_hidden": 12', '"n_hidden": 13', "do not fit"),
        ('"n_layers": 1', '"n_layers": 2', "do not fit"),
        ('"n_genes": 25', '"n_genes": 24', "do not fit"),
        ('"symbols"', '"words"', "is damaged"),
    ):
        text = cfg.read_text()
        assert before in text
        cfg.write_text(text.replace(before, after))
        with pytest.raises(InputError, match=message):
            models.load(tmp_path / "ours")
        cfg.write_text(text)
    models.load(tmp_path / "ours")
