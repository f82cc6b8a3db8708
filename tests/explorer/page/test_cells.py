"""The cells: what colours them, what is under the pointer, which are selected, and the picture for a paper."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from cellglass.atlas import open_atlas
from explorer.page.conftest import frames
from explorer.page.saved import read_csv

SVG = "{http://www.w3.org/2000/svg}"


class Plot:
    """Where each cell lies on the screen, worked out here from the atlas's own layout."""

    def __init__(self, page: Any, site: Any, at: int = 0) -> None:
        self.page = page
        self.element = page.get_by_role("application").nth(at)
        self.element.wait_for()
        self.concepts = open_atlas(site.atlas).concepts
        box = self.element.bounding_box()
        xy = np.asarray(self.concepts.obsm["X_umap"], dtype=float)
        low, high = xy.min(0), xy.max(0)
        unit = 0.94 * min(box["width"] / (high - low)[0], box["height"] / (high - low)[1])
        middle = (low + high) / 2
        self.x = box["x"] + box["width"] / 2 + (xy[:, 0] - middle[0]) * unit
        self.y = box["y"] + box["height"] / 2 - (xy[:, 1] - middle[1]) * unit

    def pixels(self) -> np.ndarray:
        from PIL import Image

        frames(self.page)
        return np.asarray(Image.open(io.BytesIO(self.element.screenshot())).convert("RGB")).astype(int)

    def drag(self, corners: np.ndarray) -> None:
        mouse = self.page.mouse
        mouse.move(*corners[0])
        mouse.down()
        for x, y in corners[1:]:
            mouse.move(x, y)
        mouse.up()


def near(pixels: np.ndarray, colour: str) -> int:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels - wanted).max(axis=2) <= 6).sum())


def activation(concepts: Any, latent: int) -> np.ndarray:
    return np.asarray(concepts.X[:, [concepts.var["latent"].tolist().index(latent)]].todense()).ravel()


def chosen(page: Any) -> int:
    title = page.locator(".chosen h2")
    title.wait_for()
    return int(re.sub(r"\D", "", title.inner_text()))


def test_a_concept_colours_the_cells_with_zero_in_grey(site: Any, visit: Any, keep: Any) -> None:
    page = visit(site, "#/cells?colour=c:2&names=0")
    plot = Plot(page, site)
    values = activation(plot.concepts, 2)
    page.get_by_text(f"activation; {(values > 0).sum()} cells are not zero").wait_for()
    top = np.sort(values[values > 0])[int(np.ceil(0.99 * (values > 0).sum())) - 1]
    assert page.locator(".scale").inner_text().split()[-1] == f"{top:.2f}"
    pixels = plot.pixels()
    assert near(pixels, "#d9d8d6") > 20 * (values == 0).sum() / 2, "zero is grey"
    strong = int(np.argmax(values))
    assert near(pixels, "#472c7a") + near(pixels, "#460c5f") > 0 or near(pixels, "#440154") > 10, "the top is dark"
    clip = page.get_by_role("slider", name="Strongest colour")
    clip.fill("50")
    half = np.sort(values[values > 0])[int(np.ceil(0.5 * (values > 0).sum())) - 1]
    page.locator(".scale", has_text=f"{half:.2f}").wait_for()
    assert "clip=50" in page.url
    page.get_by_label("to", exact=True).fill("100")
    page.get_by_label("to", exact=True).press("Enter")
    page.locator(".scale", has_text="100.00").wait_for()
    assert near(plot.pixels(), "#440154") == 0, "with the top at 100 no cell is dark"
    page.mouse.move(plot.x[strong], plot.y[strong])
    page.locator(".tip").wait_for()
    told = page.locator(".tip").inner_text().splitlines()
    cell = plot.concepts.obs_names.get_loc(told[0])
    assert np.hypot(plot.x[cell] - plot.x[strong], plot.y[cell] - plot.y[strong]) < 9
    assert told[1] == f"cell type: {plot.concepts.obs['cell type'].iloc[cell]}"
    assert told[-1].endswith(f": {values[cell]:.2f}")
    keep(page, f"cells-concept-{site.kind}")


def test_a_label_and_genes_colour_them_and_the_legend_hides_groups(live: Any, visit: Any) -> None:
    page = visit(live, "#/cells?names=0")
    plot = Plot(page, live)
    sizes = plot.concepts.obs["cell type"].value_counts()
    first, second = plot.concepts.obs["cell type"].cat.categories[:2]
    for name in (first, second):
        entry = page.locator(".keys li", has=page.get_by_role("button", name=f"only {name}", exact=True))
        assert entry.locator(".num").inner_text() == str(sizes[name])
    seen = near(plot.pixels(), "#0072b2")
    assert seen > 100
    page.locator(".keys .toggle").first.click()
    page.locator(".keys [aria-pressed=false]").wait_for()
    assert near(plot.pixels(), "#0072b2") < seen / 20, "a hidden group is not drawn in its colour"
    page.locator(".keys .toggle").first.click()
    page.get_by_role("button", name=f"only {second}", exact=True).click()
    only = plot.pixels()
    assert near(only, "#d55e00") > 50
    assert near(only, "#0072b2") < seen / 20
    page.get_by_label("Show labels", exact=True).check()
    assert (plot.pixels() != only).any(), "names of groups stand on the plot"
    counts = open_atlas(live.atlas).expression
    page.get_by_label("Colour by").select_option("Gene")
    page.get_by_label("Gene: symbol or id").fill("LYZ")
    page.get_by_role("button", name="Show", exact=True).click()
    lyz = np.asarray(counts.X[:, counts.var["symbol"].tolist().index("LYZ")].todense()).ravel()
    page.get_by_text(f"log(1 + counts per 10,000); {(lyz > 0).sum()} cells are not zero").wait_for()
    page.get_by_label("Colour by").select_option("Mean of genes")
    page.get_by_label("Genes, with spaces").fill("LYZ CD79A")
    page.get_by_role("button", name="Show", exact=True).click()
    both = np.asarray(counts.X[:, [counts.var["symbol"].tolist().index(s) for s in ("LYZ", "CD79A")]].todense()).any(1)
    page.get_by_text(f"mean of log(1 + counts per 10,000) over 2 genes; {both.sum()} cells are not zero").wait_for()
    page.go_back()
    page.get_by_role("heading", name="LYZ", exact=True).wait_for()


def test_a_box_and_a_lasso_select_cells_and_say_what_marks_them(
    site: Any, visit: Any, tmp_path: Path, keep: Any
) -> None:
    from matplotlib.path import Path as Outline

    page = visit(site, "#/cells")
    plot = Plot(page, site)
    inside = (plot.concepts.obs["cell type"] == "CD19+ B cells").to_numpy()
    x0, x1 = np.quantile(plot.x[inside], (0.1, 0.9))
    y0, y1 = np.quantile(plot.y[inside], (0.1, 0.9))
    page.get_by_role("button", name="Box", exact=True).click()
    plot.drag(np.array([(x0, y0), (x0 + 5, y0 + 5), (x1, y1)]))
    mask = (plot.x > x0) & (plot.x < x1) & (plot.y > y0) & (plot.y < y1)
    assert abs(chosen(page) - mask.sum()) <= 2
    page.get_by_role("button", name="Lasso", exact=True).click()
    turns = np.linspace(0, 2 * np.pi, 50)
    middle = np.array([np.median(plot.x[inside]), np.median(plot.y[inside])])
    corners = middle + 40 * np.stack([np.cos(turns), 0.8 * np.sin(turns)], 1)  # it ends where it began
    boxed = mask.sum()
    mask = Outline(corners).contains_points(np.stack([plot.x, plot.y], 1))
    assert 3 < mask.sum() < boxed - 4, "the two are told apart by their sizes"
    plot.drag(corners)
    near_enough = "n => Math.abs(parseInt(document.querySelector('.chosen h2').textContent) - n) <= 1"
    page.wait_for_function(near_enough, arg=int(mask.sum()))  # a cell may lie on the line
    lassoed = chosen(page)
    page.get_by_label("Save the concepts that mark").wait_for()
    marks = read_csv(page, page.get_by_label("Save the concepts that mark").click, tmp_path)
    for row in marks[:5]:
        values = activation(plot.concepts, int(row["latent"]))
        test = mannwhitneyu(values[mask], values[~mask])
        assert np.isclose(float(row["auc"]), test.statistic / (mask.sum() * (~mask).sum()), atol=0.01)
        assert test.pvalue * 0.5 <= float(row["q"]) <= 1
    assert all(float(row["q"]) <= 1 for row in marks)
    link = page.url
    other = visit(site, link.removeprefix(site.url))
    assert chosen(other) == lassoed, "the link brings the selection back"
    other.get_by_label("Save the concepts that mark").wait_for()
    keep(other, f"cells-chosen-{site.kind}", full=True)
    page.get_by_role("button", name="Clear selection").click()
    page.locator(".chosen").wait_for(state="detached")
    page.go_back()
    assert chosen(page) == lassoed, "so does the back button"


def test_two_views_move_together(live: Any, visit: Any, keep: Any) -> None:
    page = visit(live, "#/cells?colour=c:1")
    page.get_by_role("button", name="Side by side").click()
    left, right = Plot(page, live), Plot(page, live, 1)
    before = right.pixels()
    left.drag(np.array([(left.x.mean(), left.y.mean()), (left.x.mean() + 60, left.y.mean() + 30)]))
    assert (right.pixels() != before).any()
    page.get_by_role("application").first.focus()
    page.keyboard.press("+")
    page.wait_for_url(re.compile("at="))
    keep(page, "cells-two-views")
    page.keyboard.press("Enter")
    page.locator(".tip").wait_for()
    assert page.locator(".tip b").inner_text() in left.concepts.obs_names
    page.keyboard.press("0")
    page.keyboard.press("s")
    assert chosen(page) == 700, "all cells are in sight"
    page.keyboard.press("Escape")
    page.locator(".chosen").wait_for(state="detached")
    page.get_by_role("button", name="Close this view").click()
    page.get_by_role("application").nth(1).wait_for(state="detached")


@pytest.mark.parametrize("colour", ["label:cell type", "c:1"])
def test_the_picture_has_the_aspect_names_and_legend_of_the_plot(
    live: Any, visit: Any, colour: str, tmp_path: Path, keep: Any
) -> None:
    from PIL import Image

    page = visit(live, f"#/cells?colour={colour}")
    plot = Plot(page, live)
    page.locator(".keys, .scale").first.wait_for()
    plot.pixels()
    box = plot.element.bounding_box()
    keep_in = Path(keep(page, f"cells-figure-{colour[0]}")).parent
    for kind in ("PNG", "SVG"):
        with page.expect_download() as got:
            page.get_by_role("button", name=kind, exact=True).click()
        got.value.save_as(keep_in / f"figure-{colour[0]}.{kind.lower()}")
    root = ElementTree.parse(keep_in / f"figure-{colour[0]}.svg").getroot()  # noqa: S314 (our own file)
    frame = root.find(f"{SVG}clipPath/{SVG}rect").attrib
    assert float(frame["width"]) / float(frame["height"]) == pytest.approx(box["width"] / box["height"], rel=0.02)
    dots = [float(circle.get("cx")) for circle in root.findall(f".//{SVG}g[@fill]/{SVG}circle")]
    assert len(dots) == 700
    texts = [text.text for text in root.iter(f"{SVG}text")]
    groups = list(plot.concepts.obs["cell type"].cat.categories)
    assert all(texts.count(group) == (2 if colour.startswith("label") else 1) for group in groups), texts
    wanted = "cell type" if colour.startswith("label") else "activation"
    assert wanted in texts
    assert all(float(text.get("font-size")) >= 15 for text in root.iter(f"{SVG}text"))
    picture = Image.open(keep_in / f"figure-{colour[0]}.png")
    assert picture.width == 3 * float(root.get("width"))
    assert picture.width >= 3000
    assert near(np.asarray(picture.convert("RGB")).astype(int), "#0072b2" if colour[0] == "l" else "#d9d8d6") > 1000


def test_fingers_move_zoom_and_ask(live: Any, visit: Any) -> None:
    page = visit(live, "#/cells", width=390, height=800, has_touch=True)
    plot = Plot(page, live)
    plot.pixels()
    hands = page.context.new_cdp_session(page)
    page.touchscreen.tap(plot.x[0], plot.y[0])
    page.locator(".tip").wait_for()
    told = plot.concepts.obs_names.get_loc(page.locator(".tip b").inner_text())
    assert np.hypot(plot.x[told] - plot.x[0], plot.y[told] - plot.y[0]) < 22
    middle = np.array([plot.x.mean(), plot.y.mean()])

    def touch(kind: str, apart: float) -> None:
        points = [{"x": middle[0] + side * apart, "y": middle[1], "id": i} for i, side in enumerate((-1, 1))]
        hands.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else points})

    touch("touchStart", 20)
    for apart in (30, 40, 60):
        touch("touchMove", apart)
    touch("touchEnd", 60)
    zoom = re.compile(r"at=[-\d]+(?:,|%2C)[-\d]+(?:,|%2C)(2\.[789]|3\.[012])\d*")
    page.wait_for_url(zoom)  # fingers three times as far apart


def test_an_error_is_told_in_plain_words(live: Any, visit: Any) -> None:
    page = visit(live, "#/cells?colour=gene:NOSUCH")
    page.get_by_text("The atlas has no gene NOSUCH.").wait_for()
    page.goto(f"{live.url}#/cells?colour=c:999")
    page.get_by_text("The atlas has no concept 999.").wait_for()
