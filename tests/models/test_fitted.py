"""Small transformers by kind: the sites that are promised before a fit are those that the fitted model has."""

from __future__ import annotations

import pytest

from cellglass.errors import InputError
from cellglass.models import fitted
from cellglass.models.transformer import TransformerModel


@pytest.mark.parametrize("kind", list(fitted.CELL_SITES))
def test_the_sites_that_are_promised_are_those_of_the_fitted_model(kind, cells):
    model = fitted.fit(kind, cells, layers=2, width=32, epochs=1, seed=1)
    assert isinstance(model, TransformerModel)
    assert model.kind == kind
    assert list(model.sites) == fitted.site_names(kind, 2)
    for name, site in model.sites.items():
        fitted.check_site(kind, name, 2)
        assert site.granularity == ("cell" if name in fitted.CELL_SITES[kind] else "token")
    assert model.activations(cells, ["cell"])["cell"].shape == (cells.n_cells, 32)


def test_what_cannot_be_fitted_is_refused(cells):
    with pytest.raises(InputError, match=r"no transformer 'scvi' to fit; there are: scgpt"):
        fitted.fit("scvi", cells)
    with pytest.raises(
        InputError, match=r"the scgpt model has no site 'layers.4.resid'; its sites are: cell, cell.raw"
    ):
        fitted.check_site("scgpt", "layers.4.resid")
    with pytest.raises(InputError, match="epochs"):
        fitted.fit("geneformer", cells, epochs=-1)


@pytest.mark.parametrize("kind", list(fitted.CELL_SITES))
def test_without_an_epoch_the_network_is_as_it_starts(kind, cells):
    start, again = (fitted.fit(kind, cells, layers=1, width=32, epochs=0, seed=2) for _ in range(2))
    other = fitted.fit(kind, cells, layers=1, width=32, epochs=1, seed=2)
    assert start.fingerprint() == again.fingerprint() != other.fingerprint()
