import numpy as np
import pytest
import torch

from cellglass import models
from cellglass.errors import InputError
from cellglass.models.embedding import EmbeddingModel


def test_activations_are_the_rows_of_the_matrix(cells):
    model = EmbeddingModel.of(cells)
    rows = np.array([5, 2, 30])
    found = model.activations(cells[rows], ["X_pca"])["X_pca"]
    np.testing.assert_array_equal(found.numpy(), cells.obsm["X_pca"][rows])
    assert found.dtype == torch.float32
    assert model.site("X_pca").width == 4
    found[:] = 0
    assert cells.obsm["X_pca"].any()


def test_genes_stay_as_they_are(cells):
    model = EmbeddingModel.of(cells)
    fewer = cells.select_genes([3, 1])
    assert model.align(fewer) is fewer


def test_what_needs_a_model_says_that_there_is_none(cells):
    model = EmbeddingModel.of(cells)
    one = np.array([0])
    for what, said, call in (
        ("counterfactual", "counterfactuals are", lambda: model.perturbed_activations(cells, "X_pca", one, one, one)),
        (
            "counterfactual",
            "counterfactuals are",
            lambda: model.perturbed_activations_plain(cells, "X_pca", one, one, one),
        ),
        ("decode", "decoding is", lambda: model.decode("X_pca", torch.zeros(1, 4), cells[:1])),
        ("path", "path effects are", lambda: model.path_gradient("X_pca", torch.zeros(1, 25), cells[:1])),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == model.lacks(what, "X_pca")
        assert str(caught.value) == (
            f"'X_pca' is an embedding with no model behind it, so {said} not possible; "
            "differential expression still works"
        )
    assert model.posterior(cells, "X_pca") is None
    assert model.linear_front("X_pca") is None


def test_wrong_matrices_are_named(cells):
    with pytest.raises(InputError, match=r"no obsm matrix 'X_uce'; there are: X_pca"):
        EmbeddingModel.of(cells, ["X_uce"])
    with pytest.raises(InputError, match="no embedding in obsm"):
        EmbeddingModel.of(cells, [])
    model = EmbeddingModel.of(cells)
    cells.obsm["X_pca"][3, 1] = np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        model.activations(cells, ["X_pca"])
    cells.obsm["X_pca"] = np.zeros((40, 3))
    with pytest.raises(InputError, match="has 3 columns, the model was made for 4"):
        model.activations(cells, ["X_pca"])


def test_save_and_load(cells, tmp_path):
    model = EmbeddingModel.of(cells)
    model.save(tmp_path / "model")
    again = models.load(tmp_path / "model")
    assert isinstance(again, EmbeddingModel)
    assert again.fingerprint() == model.fingerprint()
    assert again.genes.equals(cells.genes.index)
    assert again.sites == model.sites
