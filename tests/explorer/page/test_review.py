"""Blind review with the keyboard: progress kept, two raters, nothing that tells what an item is, results in words."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

WANTED = {"concepts": 2, "neurons": 2, "random directions": 2}
OF = 7  # of which one comes twice
TELLING = re.compile(r"concept|neuron|random|direction|kind|latent|repeat|position|dictionar|matryoshka", re.IGNORECASE)


def ready(page: Any, number: int) -> None:
    """Wait until an item can be rated."""
    page.get_by_role("heading", name=f"Item {number} of {OF}", exact=True).wait_for()
    page.get_by_role("group", name="Rating").wait_for()


def rate(page: Any, key: int) -> None:
    """Rate the present item with two keys."""
    page.keyboard.press(str(key))
    assert page.get_by_role("button", name=re.compile(f"^{key}")).get_attribute("aria-pressed") == "true"
    page.keyboard.press("Enter")


def face(page: Any) -> dict[str, Any]:
    """Return what a rater sees of an item, apart from names and numbers: its bones."""
    bones = """() => ({
        heads: [...document.querySelectorAll('main h2, main th')].map((e) => e.textContent),
        tabs: [...document.querySelectorAll('main [role=tab]')].map((e) => e.textContent),
        bones: [...new Set([...document.querySelectorAll('main *')].map((e) => `${e.tagName} ${e.className}`))].sort(),
        canvas: [...document.querySelectorAll('main canvas')].map((e) => [e.width, e.height]),
    })"""
    found: dict[str, Any] = {}
    while found != (now := page.evaluate(bones)):  # until the page has come to rest: canvases take their size late
        found = now
        page.wait_for_timeout(100)
    return found


def begin(page: Any) -> None:
    page.get_by_role("heading", name="A new session").wait_for()
    for name, n in WANTED.items():
        page.get_by_role("spinbutton", name=name).fill(str(n))
    page.get_by_role("button", name="Start").click()
    page.get_by_text("The session has started").wait_for()


def test_a_whole_review(live: Any, visit: Any, keep: Any, tmp_path: Path) -> None:
    ada = visit(live, "#/review", width=1400, height=900)
    begin(ada)
    ada.get_by_role("button", name="Rate").first.click()
    ada.get_by_text("Write your name first").wait_for()
    ada.get_by_label("Your name").fill("Ada")
    ada.get_by_role("button", name="Rate").first.focus()

    answers: list[Any] = []
    told: list[tuple[str, bytes]] = []
    ada.on("requestfinished", lambda asked: answers.append(asked) if "api/review/" in asked.url else None)
    ada.keyboard.press("Enter")
    ready(ada, 1)
    keep(ada, "review-item")
    faces = [face(ada)]
    ada.keyboard.press("Enter")  # not rated yet
    ada.get_by_text("Rate it first").wait_for()
    ada.keyboard.press("l")
    ada.keyboard.type("T cells 4")
    ada.keyboard.press("Escape")
    ada.keyboard.press("c")
    ada.keyboard.type("2 thoughts")
    ada.keyboard.press("Escape")
    rate(ada, 2)
    ready(ada, 2)
    ada.get_by_role("button", name="Previous item").click()
    ready(ada, 1)
    assert ada.get_by_role("button", name=re.compile("^2")).get_attribute("aria-pressed") == "true"
    assert ada.get_by_label("Label, if you have one").input_value() == "T cells 4"
    ada.keyboard.press("4")
    ada.get_by_role("button", name="Save the change").click()
    for number in (2, 3):
        ready(ada, number)
        faces.append(face(ada))
        rate(ada, number)
    ready(ada, 4)
    link = ada.url
    ada.get_by_role("link", name="Leave").click()
    ada.get_by_text(f"3 of {OF}").wait_for()
    ada.go_back()
    ready(ada, 4)
    told += [(asked.url, asked.response().body()) for asked in answers]
    answers.clear()
    ada.reload()
    for number in range(4, OF + 1):
        ready(ada, number)
        faces.append(face(ada))
        rate(ada, 1 + number % 5)
    ada.get_by_text("That was the last one").wait_for()
    for number, one in enumerate(faces):
        assert one == faces[min(number, 1)], "all look alike, but that the first has no way back"
    assert faces[0]["tabs"] == [], "what its cells are called is hidden"
    told += [(asked.url, asked.response().body()) for asked in answers]
    assert len([url for url, _ in told if "/item" in url]) >= OF
    for url, body in told:
        assert not TELLING.search(url.split("api/review/")[1])
        assert "/activation" in url or not TELLING.search(body.decode()), url
    codes = {json.loads(body)["code"] for url, body in told if url.endswith(("/next", "/answer"))}
    assert all(code is None or re.fullmatch("[0-9a-f]{16}", code) for code in codes)

    ben = visit(live, link.split("/", 3)[3], width=360, height=800, color_scheme="dark")
    ben.get_by_label("Your name").fill("Ben")
    ben.get_by_role("button", name="Start rating").click()
    for number in range(1, OF + 1):
        ready(ben, number)
        if number == 1:
            keep(ben, "review-item-narrow-dark", full=True)
            assert ben.evaluate("document.documentElement.scrollWidth") <= 360
        ben.get_by_role("button", name=re.compile(f"^{1 + number % 5}")).click()
        ben.get_by_role("button", name="Save and continue").click()
    ben.get_by_text(f"You are done: you rated {OF} items").wait_for()
    ben.keyboard.press("Backspace")
    ready(ben, OF)
    ben.get_by_role("button", name="Leave it as it was").click()
    ben.get_by_text("What happens next").wait_for()

    ada.get_by_role("link", name="Leave").click()
    ada.get_by_role("button", name="End …").first.click()
    ada.get_by_role("button", name="No", exact=True).click()
    assert ada.get_by_role("link", name="Results").count() == 0
    ada.get_by_role("button", name="End …").first.click()
    keep(ada, "review-end")
    ada.get_by_role("button", name="Yes, end it").click()
    ada.get_by_text("The session has ended").wait_for()
    ada.get_by_role("link", name="Results").first.click()
    _check_results(ada, keep, tmp_path)
    ben.reload()
    ben.get_by_role("link", name="See its results").click()
    ben.get_by_role("heading", name="How far raters agree").wait_for()
    keep(ben, "review-results-narrow-dark", full=True)


def _check_results(page: Any, keep: Any, folder: Path) -> None:
    """Check that the results are told in words and that the table of answers is whole."""
    page.get_by_role("heading", name="The items").wait_for()
    keep(page, "review-results", full=True)
    text = page.locator("main").inner_text()
    assert re.search(r"Concepts were rated (the same as|\d\.\d\d (higher|lower) than) neurons", text)
    assert re.search(r"Concepts were rated (the same as|\d\.\d\d (higher|lower) than) random directions", text)
    assert text.count("needs at least 5 items rated twice; there is 1") == 2
    assert "its interval needs at least 5 items of each kind; rated were 2 concepts and 2 neurons" in text
    for words in ("Ada with themselves", "Ben with themselves", "Ada with Ben", "T cells 4"):
        assert words in text
    assert "[object" not in text
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the answers as CSV").click()
    waiting.value.save_as(folder / "answers.csv")
    rows = list(csv.DictReader(io.StringIO((folder / "answers.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 2 * OF
    first = next(row for row in rows if row["rater"] == "Ada" and row["position"] == "0")
    assert (first["rating"], first["label"], first["comment"]) == ("4", "T cells 4", "2 thoughts")
    once = [row for row in rows if row["rater"] == "Ada" and row["repeat"] == "false"]
    assert sorted(row["kind"] for row in once) == ["concept"] * 2 + ["neuron"] * 2 + ["random"] * 2
    means: dict[str, list[float]] = {}
    for row in rows:
        if row["repeat"] == "false":
            means.setdefault(f"{row['kind']} {row['number']}", []).append(float(row["rating"]))
    cells = "rows => rows.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.innerText))"
    for what, mean, _ in page.locator(".items tbody tr").evaluate_all(cells):
        kind, number = re.match(r"(concept|neuron|random)\D*(\d+)", what).groups()
        ratings = means.pop(f"{kind} {number}")
        assert mean == f"{sum(ratings) / len(ratings):.2f}"
    assert not means


def test_a_review_that_nobody_rated_and_one_too_large(live: Any, visit: Any, browser: Any) -> None:
    page = visit(live, "#/review")
    begin(page)
    page.get_by_role("button", name="End …").first.click()
    page.get_by_role("button", name="Yes, end it").click()
    page.get_by_text("The session has ended").wait_for()
    page.get_by_role("link", name="Results").first.click()
    page.get_by_text("The session ended before anybody rated").wait_for()
    context = browser.new_context()  # the server refuses, which a console reports
    other = context.new_page()
    other.goto(f"{live.url}#/review")
    other.get_by_role("spinbutton", name="concepts").fill("500")
    other.get_by_role("button", name="Start").click()
    other.get_by_text("500 are asked for").wait_for()
    context.close()
