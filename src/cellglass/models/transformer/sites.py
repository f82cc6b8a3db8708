"""The sites of a transformer by their names, from where its layers keep their parts. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cellglass.models.base import Site
from cellglass.models.transformer.hooks import Point


class LayerPoints(NamedTuple):
    """Where the parts of a layer are in a network.

    Attributes
    ----------
    heads : str
        The module whose input holds the heads side by side: the output map of attention.
    attn, mlp_in, mlp_out, resid : Point
        What attention adds, what the MLP reads, what it writes, and the residual stream after the layer.
    """

    heads: str
    attn: Point
    mlp_in: Point
    mlp_out: Point
    resid: Point


def token_points(embed: Point, layers: Sequence[LayerPoints], n_heads: int, size: int) -> dict[str, Point]:
    """Return the token sites of a transformer by name, in the order of the forward pass.

    Parameters
    ----------
    embed
        What the first layer is given.
    layers
        In their order.
    n_heads, size
        Of each layer: heads, and how wide each is.
    """
    points = {"embed": embed}
    for i, layer in enumerate(layers):
        for h in range(n_heads):
            points[f"layers.{i}.attn.head.{h}"] = Point(layer.heads, "in", slice(h * size, (h + 1) * size))
        points[f"layers.{i}.attn.out"] = layer.attn
        points[f"layers.{i}.mlp.in"] = layer.mlp_in
        points[f"layers.{i}.mlp.out"] = layer.mlp_out
        points[f"layers.{i}.resid"] = layer.resid
    return points


def sites_of(points: Mapping[str, Point], width: int, cell_sites: Iterable[str]) -> dict[str, Site]:
    """Return the sites of a transformer whose residual stream is `width` wide, those with one row for each cell first.

    Parameters
    ----------
    points
        Token sites; a part of a point is as wide as its slice.
    width
        Of all others.
    cell_sites
        Names of the sites with one row for each cell.
    """
    widths = {
        name: width if point.part is None else point.part.stop - point.part.start for name, point in points.items()
    }
    cells = [Site(name, width) for name in cell_sites]
    return {site.name: site for site in (*cells, *(Site(name, widths[name], "token") for name in points))}
