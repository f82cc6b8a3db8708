"""Kinds of models: the sites that are promised before a fit are those that the fitted model has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cellglass.errors import InputError
from cellglass.models.kind import FitConfig
from cellglass.models.registry import KINDS, fit, fittable, kind_of, load
from cellglass.models.transformer.model import TransformerModel

TRANSFORMERS = [name for name in fittable() if name != "scvi"]


def test_names_cost_no_network() -> None:
    code = "import sys; from cellglass.models.registry import fittable; fittable(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize("name", fittable())
def test_the_sites_that_are_promised_are_those_of_the_fitted_model(name, cells):
    config = FitConfig(layers=2, width=32, latent=6, epochs=1, seed=1)
    kind, model = KINDS[name], fit(name, cells, config)
    assert model.kind == kind.name == name
    assert list(model.sites) == kind.fitting.sites(config)
    for site in model.sites:
        kind.check_fit(config, site)
    first = next(iter(model.sites))
    assert model.activations(cells, [first])[first].shape == (cells.n_cells, model.sites[first].width)


@pytest.mark.parametrize("name", fittable())
def test_the_sites_of_the_defaults_are_those_of_no_settings(name):
    fitting = KINDS[name].fitting
    assert fitting.sites(FitConfig()) == fitting.sites(FitConfig(**fitting.defaults))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_sites_say_whether_they_have_a_row_for_each_gene(name, cells):
    model = fit(name, cells, FitConfig(layers=1, width=32, epochs=0))
    assert isinstance(model, TransformerModel)
    of_cells = [site.name for site in model.sites.values() if site.granularity == "cell"]
    assert of_cells == list(model.sites)[: len(of_cells)] == list(model.cell_sites)


def test_what_cannot_be_fitted_is_refused(cells):
    with pytest.raises(InputError, match=r"no model 'embedding' to fit; there are: scvi, scgpt, geneformer"):
        fit("embedding", cells)
    with pytest.raises(
        InputError, match=r"the scgpt model has no site 'layers.4.resid'; its sites are: cell, cell.raw"
    ):
        KINDS["scgpt"].check_fit(FitConfig(), "layers.4.resid")
    with pytest.raises(InputError, match="batch is 'donor', but geneformer takes no covariate"):
        KINDS["geneformer"].check_fit(FitConfig(batch="donor"), None)
    with pytest.raises(InputError, match="epochs"):
        fit("geneformer", cells, FitConfig(epochs=-1))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_without_an_epoch_the_network_is_as_it_starts(name, cells):
    small = {"layers": 1, "width": 32, "seed": 2}
    start, again = (fit(name, cells, FitConfig(**small, epochs=0)) for _ in range(2))
    other = fit(name, cells, FitConfig(**small, epochs=1))
    assert start.fingerprint() == again.fingerprint() != other.fingerprint()


# -- what a folder holds is told by all its files ----------------------------------------------------------------------

BERT, NEOX = '{"model_type": "bert"}', '{"model_type": "gpt_neox"}'


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"model.pt": ""}, "scvi"),
        ({"run_model.pt": "", "run_adata.h5ad": ""}, "scvi"),
        ({"model_params.pt": "", "attr.pkl": "", "var_names.csv": ""}, "scvi"),
        ({"args.json": "{}", "vocab.json": "{}", "best_model.pt": ""}, "scgpt"),
        ({"args.json": "{}", "vocab.json": "{}", "model.pt": ""}, "scgpt"),
        ({"vocab.json": "{}", "model_e15.pt": "", "run.log": ""}, "scgpt"),
        ({"args.json": "{}", "model.pt": ""}, "scgpt"),
        ({"config.json": BERT, "model.safetensors": ""}, "geneformer"),
        ({"config.json": BERT, "pytorch_model.bin": "", "optimizer.pt": "", "training_args.bin": ""}, "geneformer"),
        ({"config.json": BERT, "model.pt": "", "adapter_config.json": "{}"}, "geneformer"),
        ({"config.json": NEOX, "vocab.json": "{}", "merges.txt": "", "optimizer.pt": ""}, "cell2sentence"),
        ({"cfg.json": '{"kind": "embedding"}', "model.pt": ""}, "embedding"),
    ],
)
def test_the_kind_is_told_by_all_files_of_a_folder(tmp_path, files, kind):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert kind_of(tmp_path) == kind


def test_a_folder_without_a_model_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"no model that cellglass knows \(in it: notes.txt\)"):
        load(tmp_path)
    for name in ("checkpoint-500", "checkpoint-900"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(BERT)
    with pytest.raises(InputError, match="but checkpoint-500, checkpoint-900 below it do; give the folder"):
        load(tmp_path)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"adapter .*merge_and_unload"):
        load(tmp_path / "adapter")
    (tmp_path / "adapter" / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InputError, match="'llama'; cellglass reads Geneformer"):
        load(tmp_path / "adapter")
    with pytest.raises(InputError, match=r"config.json is a file; give the folder that holds the model: .*checkpoint"):
        load(tmp_path / "checkpoint-500" / "config.json")
