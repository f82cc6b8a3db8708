"""What is told of the reviews in a file, and of which."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cellglass.errors import InputError
from cellglass.evaluation.rater_agreement import agreement
from cellglass.explorer.notes.store import Notes
from cellglass.explorer.review.session import Item, Review
from cellglass.explorer.review.summary import summarize

ITEMS = [Item("concept", i, 5) for i in range(6)] + [Item("neuron", i, 5) for i in range(6)]


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    with Notes(tmp_path / "n.sqlite") as notes:
        yield Review(notes)


def rated(review: Review, seed: int, raters: tuple[str, ...] = ("Ada", "Bob"), *, end: bool = True) -> str:
    session = review.start(ITEMS, seed)
    for rater in raters:
        while (code := review.place(session, rater).code) is not None:
            item = review.item(session, rater, code)
            review.answer(session, rater, code, {"rating": 1 + (item.number + 2 * (item.kind == "concept")) % 5})
    if end:
        review.end(session)
    return session


def test_all_reviews_that_have_ended_are_told(review: Review) -> None:
    first, second, running = rated(review, 1), rated(review, 2), rated(review, 3, end=False)
    found = summarize(review)
    assert [one["session"] for one in found] == [first, second]
    expected = agreement(review.table(first))
    assert {key: found[0][key] for key in expected} == expected
    assert (found[0]["of"], [one["done"] for one in found[0]["raters"]]) == (14, [14, 14])
    assert found[0]["between"][0]["kappa"] == pytest.approx(1)
    assert {one["session"] for one in summarize(review, early=True)} == {first, second, running}


def test_one_review_is_told_by_its_id(review: Review) -> None:
    rated(review, 1)
    second = rated(review, 2)
    assert [one["session"] for one in summarize(review, second)] == [second]


def test_what_cannot_be_told_is_said(review: Review) -> None:
    with pytest.raises(InputError, match="no reviews in these notes"):
        summarize(review)
    with pytest.raises(InputError, match="--session x: there is no such review; there are: none"):
        summarize(review, "x")
    session = rated(review, 1, (), end=False)
    with pytest.raises(InputError, match=f"{session} has not ended; .*--early"):
        summarize(review)
    with pytest.raises(InputError, match="nobody has rated anything"):
        summarize(review, early=True)
