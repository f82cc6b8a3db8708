"""How two atlases overlap: the site whose directions can be compared, and the cells in which activations can.

A site is the same if both atlases read the same activations, or the same model (by its fingerprint) at the site of the
same name. An embedding has no model to show that by. Cells are the same if their names are and their counts agree: two
runs of a sequencer give the same barcodes to other cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cellglass.atlas import schema
from cellglass.atlas.manifest import outputs_of
from cellglass.atlas.read import Atlas

Array = np.ndarray[Any, Any]

CHECKED = 16
"""Genes in which the counts of a shared cell must agree: those that most cells of the first atlas count."""


class SiteOverlap(NamedTuple):
    """Whether two atlases explain one site.

    Attributes
    ----------
    same : bool
    words : str
        Which it is, or why that cannot be said.
    """

    same: bool
    words: str


class CellOverlap(NamedTuple):
    """The cells that two atlases have both.

    Attributes
    ----------
    a, b : numpy.ndarray of int64, shape (n,)
        Their positions in either atlas.
    words : str
        How many, and how that was found.
    """

    a: Array
    b: Array
    words: str


def site_overlap(a: Atlas, b: Atlas) -> SiteOverlap:
    """Say whether `a` and `b` explain the same site of the same model."""
    names, kinds = [_site(one) for one in (a, b)], [_model(one).get("kind") for one in (a, b)]
    captured = [_digest(one, schema.ACTIVATIONS) for one in (a, b)]
    if captured[0] and captured[0] == captured[1]:
        return SiteOverlap(True, f"site {names[0]}, with the same activations")
    if kinds[0] != kinds[1]:
        return SiteOverlap(False, f"the models differ: {kinds[0]} and {kinds[1]}")
    if names[0] != names[1]:
        return SiteOverlap(False, f"the sites differ: {names[0]} and {names[1]}")
    if kinds[0] == "embedding":
        return SiteOverlap(False, f"both explain an embedding {names[0]}, and nothing shows that one model made both")
    one, other = ({_model(each).get("fingerprint"), _digest(each, schema.MODEL)} - {None} for each in (a, b))
    if not one or not other:
        return SiteOverlap(False, "an atlas does not say which model it explains")
    if one & other:
        return SiteOverlap(True, f"site {names[0]} of the same {kinds[0]} model")
    return SiteOverlap(False, f"the two {kinds[0]} models differ in their weights")


def cell_overlap(a: Atlas, b: Atlas) -> CellOverlap:
    """Find the cells that `a` and `b` have both, in the order of `a`."""
    names_a, names_b = a.concepts.obs_names, b.concepts.obs_names
    if not (names_a.is_unique and names_b.is_unique):
        nothing = np.zeros(0, dtype=np.int64)
        return CellOverlap(nothing, nothing, "the cells of an atlas have no unique names")
    at = names_b.get_indexer(names_a)
    rows_a = np.flatnonzero(at >= 0)
    rows_b = at[rows_a].astype(np.int64)
    if not len(rows_a):
        return CellOverlap(rows_a, rows_b, "no cell has a name in both")
    genes = _heavy_genes(a, b)
    if not genes:
        return CellOverlap(rows_a, rows_b, f"{len(rows_a):,} cells by name; no counts in both to check them by")
    same = np.ones(len(rows_a), dtype=bool)
    for gene in genes:
        same &= _counts(a, gene)[rows_a] == _counts(b, gene)[rows_b]
    words = f"{int(same.sum()):,} cells, by name and by their counts of {len(genes)} genes"
    if not same.all():
        words += f"; {int((~same).sum()):,} more share a name alone and are left out"
    return CellOverlap(rows_a[same], rows_b[same], words)


def site_width(atlas: Atlas) -> int | None:
    """Return the width of the site, or None where the atlas does not say it."""
    site = atlas.concepts.uns.get(schema.UNS_SITE)
    return int(site["width"]) if isinstance(site, Mapping) and "width" in site else None


def _site(atlas: Atlas) -> str:
    site = atlas.concepts.uns.get(schema.UNS_SITE)
    return str(site.get("name", "")) if isinstance(site, Mapping) else str(site or "")


def _model(atlas: Atlas) -> Mapping[str, Any]:
    model = atlas.concepts.uns.get(schema.UNS_MODEL)
    return model if isinstance(model, Mapping) else {"kind": str(model or "")}


def _digest(atlas: Atlas, output: str) -> str | None:
    """Return the checksum in the manifest; it is there even if the work folder was deleted."""
    return outputs_of(atlas.manifest).get(output)


def _heavy_genes(a: Atlas, b: Atlas) -> list[str]:
    if a.expression is None or b.expression is None:
        return []
    common = a.expression.var_names.intersection(b.expression.var_names)
    places = a.expression.var_names.get_indexer(common)
    counted = _cells_a_gene(a)[places]
    return [str(gene) for gene in common[np.argsort(-counted, kind="stable")[:CHECKED]]]


def _cells_a_gene(atlas: Atlas) -> Array:
    import zarr

    group: Any = zarr.open_group(str(atlas.path / schema.EXPRESSION), mode="r")
    return np.diff(np.asarray(group["X/indptr"][:]))


def _counts(atlas: Atlas, gene: str) -> Array:
    expression: Any = atlas.expression
    return np.asarray(expression[:, gene].X.toarray()).ravel()
