"""Names and widths of the sites of a transformer."""

from cellglass.models.transformer.hooks import Point
from cellglass.models.transformer.sites import LayerPoints, sites_of, token_points


def layer(name: str) -> LayerPoints:
    parts = (Point(f"{name}.{part}", "out") for part in ("attn", "norm", "mlp"))
    return LayerPoints(f"{name}.out", *parts, Point(name, "out"))


def test_sites_stand_in_the_order_of_the_pass_with_cells_first():
    points = token_points(Point("embedding", "out"), [layer("a"), layer("b")], n_heads=2, size=5)
    parts = ["attn.head.0", "attn.head.1", "attn.out", "mlp.in", "mlp.out", "resid"]
    assert list(points) == ["embed", *(f"layers.{i}.{part}" for i in range(2) for part in parts)]
    assert points["layers.1.attn.head.1"] == Point("b.out", "in", slice(5, 10))
    assert points["layers.0.mlp.in"] == Point("a.norm", "out")
    sites = sites_of(points, 12, ["cell", "cell.raw"])
    assert list(sites) == ["cell", "cell.raw", *points]
    assert [site.granularity for site in sites.values()] == ["cell"] * 2 + ["token"] * len(points)
    assert {name: site.width for name, site in sites.items() if site.width != 12} == {
        f"layers.{i}.attn.head.{h}": 5 for i in range(2) for h in range(2)
    }
