"""From a telephone to a wall, light and dark: nothing sticks out, text can be read; pictures are kept to look at."""

from __future__ import annotations

from typing import Any

import pytest

from explorer.conftest import CIRCUIT
from explorer.page.conftest import frames, settle

VIEWS = {
    "home": "#/",
    "concepts": "#/concepts",
    "concepts-residual": "#/concepts?residual=1&sort=-f1",
    "card": "#/c/3",
    "card-residual": "#/c/18",
    "cells": "#/cells",
    "cells-two": "#/cells?colour=c:3&colour2=label:cell+type&pick=phase~1",
    "compare": "#/compare?a=1&b=9",
    "search": "#/search?q=cell",
    "gene": "#/search?gene=CD79A",
    "help": "#/help",
    "review": "#/review",
    "circuits": "#/circuits",
    "circuit": f"#/circuits/{CIRCUIT}?heads=1&on=t2&pin=t5",
}
OUT = """() => [...document.querySelectorAll("main *")].filter((one) => {
    const box = one.getBoundingClientRect();
    for (let up = one; up && up !== document.body; up = up.parentElement)
        if (getComputedStyle(up).overflowX !== "visible" || getComputedStyle(up).position === "fixed") return false;
    return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1);
}).map((one) => one.outerHTML.slice(0, 120))"""
SMALL = """() => [...document.querySelectorAll("main *")].filter((one) => one.checkVisibility()
    && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
    && parseFloat(getComputedStyle(one).fontSize) < 11).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize(
    ("width", "height"),
    [(360, 740), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((1280, 860), (2560, 1400)))],
)
def test_every_view_fits(live: Any, visit: Any, keep: Any, width: int, height: int) -> None:
    page = visit(live, width=width, height=height)
    for name, view in VIEWS.items():
        page.goto(live.url + view)
        settle(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            frames(page)
            wide = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], f"{name} scrolls sideways"
            assert page.evaluate(OUT) == [], name
            assert page.evaluate(SMALL) == [], f"{name}: letters too small"
            keep(page, f"{name}-{width}-{scheme}", full=name not in ("cells", "cells-two"))
