"""The page in a browser: it draws, searches, links, obeys the theme, fits a phone, and runs nothing from the data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PAINTED = """(node) => {
  const c = node.getContext('2d').getImageData(0, 0, node.width, node.height).data;
  let grey = 0, coloured = 0;
  for (let i = 0; i < c.length; i += 4) {
    if (c[i + 3] < 200) continue;
    Math.max(c[i], c[i + 1], c[i + 2]) - Math.min(c[i], c[i + 1], c[i + 2]) > 40 ? coloured++ : grey++;
  }
  return [grey, coloured];
}"""


@contextmanager
def opened(browser: Any, path: Path, where: str = "", **options: Any) -> Iterator[Any]:
    """Open the page in a context of its own; on leaving, hold that it asked for nothing and complained of nothing."""
    context = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url.split("#")[0]))
    page.goto(path.as_uri() + where)
    page.wait_for_selector("#foot p")
    yield page
    assert said == []
    assert set(asked) == {path.as_uri()}
    context.close()


def background(page: Any) -> list[int]:
    return page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")


def test_overview_and_cells_are_drawn(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        assert page.inner_text("h1") == "23 concepts inside scVI"
        assert "0.94" in page.inner_text(".tiles")
        assert page.locator(".plot").count() == 4
        assert page.locator(".card").count() == 24
        page.locator("#cells canvas").scroll_into_view_if_needed()
        page.wait_for_timeout(150)
        assert page.locator("#cells canvas").evaluate(PAINTED)[1] > 1000
        page.select_option("#label", label="phase")
        assert page.locator(".keys li").all_inner_texts()[0].startswith("G1")


def test_cards_are_drawn_when_they_come_near(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        assert page.locator(".card[data-drawn]").count() < 12
        card = page.locator("#concept-9")
        card.scroll_into_view_if_needed()
        card.locator(".ridges").wait_for()
        page.wait_for_timeout(150)
        grey, coloured = card.locator(".map > canvas").evaluate(PAINTED)
        assert grey > 500
        assert coloured > 200
        assert card.locator(".genes-rows .gene").count() == 15
        assert "named by machine" in card.inner_text()
        card.locator("[role=tab]", has_text="Path").first.focus()
        page.keyboard.press("ArrowRight")
        assert "set to zero" not in card.inner_text()
        page.keyboard.press("ArrowRight")
        assert "set to zero" in card.inner_text()


def test_search_and_order(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        page.fill("#search", "cd79a b cells")
        left = page.locator(".list tbody tr:not(.hidden)")
        assert 0 < left.count() < 24
        assert page.locator(".card:not(.hidden)").count() == left.count()
        assert f"{left.count()} of 24" in page.inner_text("[role=status]")
        page.fill("#search", "no such thing")
        assert left.count() == 0
        page.fill("#search", "")
        page.click(".list th button:has-text('Cells')")
        shares = [
            float(t.strip().split()[0]) if "%" in t else 0.0
            for t in page.locator(".list td.num:nth-child(3)").all_inner_texts()
        ]
        assert shares == sorted(shares, reverse=True)
        assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Cells")


def test_what_other_seeds_found_is_marked_sorted_and_filtered(browser: Any, report: Path, hostile_report: Path) -> None:
    with opened(browser, report) as page:
        rows = page.locator(".list tbody tr:not(.hidden)")
        page.locator(".list").scroll_into_view_if_needed()
        page.wait_for_timeout(300)  # the pictures above are drawn as they come near, and move the list
        page.click(".list th button:has-text('Seeds')")
        page.wait_for_selector("th[aria-sort=ascending]:has-text('Seeds')")
        shown = page.locator(".list td[data-name='other seeds']").all_inner_texts()
        found = [int(text.split()[0]) for text in shown]
        assert found == sorted(found, reverse=True)
        assert ["✓" in text for text in shown] == [count >= 3 for count in found]
        again = sum(count >= 3 for count in found)
        assert 0 < again < 24
        page.check("#again")
        assert rows.count() == page.locator(".card:not(.hidden)").count() == again
        assert f"{again} of 24 concepts match" in page.inner_text("[role=status]")
        assert page.locator(".card:not(.hidden) .badge.again").count() == page.locator(".badge.again").count() == again
        hidden = page.locator(".card.hidden").first.get_attribute("id")
        page.evaluate(f"location.hash = '#{hidden}'")
        page.wait_for_timeout(400)
        assert page.locator(f"#{hidden}").is_visible()
        assert not page.is_checked("#again")
        assert "4 other dictionaries" in page.inner_text("#quality")
    with opened(browser, hostile_report) as page:
        assert page.locator("#again, .badge.again").count() == 0
        assert "Seeds" not in page.inner_text(".list thead")


@pytest.mark.parametrize("width", [1300, 360])
def test_a_link_leads_to_its_card(browser: Any, report: Path, width: int) -> None:
    with opened(browser, report, "#concept-12", viewport={"width": width, "height": 800}) as page:
        page.wait_for_timeout(600)
        box = page.locator("#concept-12").bounding_box()
        assert 0 <= box["y"] < 300
        assert page.evaluate("document.activeElement.closest('.card').id") == "concept-12"


def test_dark_follows_the_system_and_the_button(browser: Any, report: Path) -> None:
    with opened(browser, report, color_scheme="dark") as page:
        assert max(background(page)) < 60
        page.click("#theme")
        assert min(background(page)) > 200
    with opened(browser, report, color_scheme="light") as page:
        assert min(background(page)) > 200


@pytest.mark.parametrize("which", ["report", "hostile_report"])
def test_a_phone_never_scrolls_sideways(browser: Any, which: str, request: pytest.FixtureRequest) -> None:
    with opened(browser, request.getfixturevalue(which), "#concept-2", viewport={"width": 360, "height": 740}) as page:
        page.locator("#concept-2 .terms").wait_for()
        page.click("summary")
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_markup_in_names_is_text(browser: Any, hostile_report: Path) -> None:
    with opened(browser, hostile_report, "#concept-0") as page:
        page.locator("#concept-0 .terms").wait_for()
        page.click("summary")
        assert page.evaluate("window.pwned") is None
        assert page.locator("img").count() == 0
        assert "<img src=x onerror=window.pwned=1>" in page.inner_text("#concept-0 h3")


def contrast(page: Any, foreground: str, behind: str) -> float:
    def luminance(name: str) -> float:
        text = page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()")
        parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(foreground), luminance(behind)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(browser: Any, report: Path, scheme: str) -> None:
    pairs = [(text, on) for text in ("ink", "soft", "accent") for on in ("paper", "card", "track")]
    pairs += [("ink", "tint"), ("warn", "warn-tint"), ("warn", "card"), ("card", "accent")]
    marks = [(f"b-{basis}", "paper") for basis in ("concepts", "neurons", "pca", "ica", "random")]
    with opened(browser, report, color_scheme=scheme) as page:
        assert {pair: contrast(page, *pair) >= 4.5 for pair in pairs} == dict.fromkeys(pairs, True)
        assert {pair: contrast(page, *pair) >= 3 for pair in marks} == dict.fromkeys(marks, True)


def test_paper_is_light_and_holds_what_the_search_left(browser: Any, report: Path) -> None:
    with opened(browser, report, color_scheme="dark") as page:
        page.fill("#search", "spink2")
        shown = page.locator(".card:not(.hidden)").count()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.locator(".card:not(.hidden) .body > *:first-child").count() == shown
        assert min(background(page) or [255]) == 0 or min(background(page)) > 200
        assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()") == "#1b1f24"
        page.evaluate("dispatchEvent(new Event('afterprint'))")
