"""Blind review: who sees what when, and that nothing is told too early."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellglass.errors import InputError
from cellglass.explorer.notes.exchange import merge_notes
from cellglass.explorer.notes.store import Notes
from cellglass.explorer.review.session import GAP, Item, Review, draw_items, order_of

CONCEPTS = {10 + i: 5 + i for i in range(40)}
WANTED = {"concept": 20, "neuron": 20, "random": 20}


def items(seed: int = 1) -> list[Item]:
    return draw_items(CONCEPTS, {"neuron": 30, "random": 25}, WANTED, seed)


def rate_all(review: Review, session: str, rater: str) -> list[str]:
    codes = []
    while (place := review.place(session, rater)).code:
        codes.append(place.code)
        review.answer(session, rater, place.code, {"rating": 1 + len(codes) % 5, "label": "x", "seconds": 2.5})
    return codes


def test_items_are_drawn_without_replacement_and_of_like_sizes() -> None:
    drawn = items()
    assert drawn == items()
    assert drawn != items(2)
    assert len({(item.kind, item.number) for item in drawn}) == 60
    assert {item.size for item in drawn if item.kind == "concept"} >= {item.size for item in drawn}
    assert all(CONCEPTS[item.number] == item.size for item in drawn if item.kind == "concept")


@pytest.mark.parametrize(
    "wanted", [{"concept": 41}, {"neuron": 1, "random": 26}, {}, {"concept": -1}, {"concept": "2"}]
)
def test_more_than_there_is_cannot_be_asked_for(wanted: dict[str, int]) -> None:
    with pytest.raises(InputError):
        draw_items(CONCEPTS, {"neuron": 30, "random": 25}, wanted, 0)


@pytest.mark.parametrize("n", [1, 2, 5, 30, 60])
def test_each_rater_sees_all_items_with_repeats_well_apart(n: int) -> None:
    for rater in ("Ada", "Bob", "Cy"):
        order = order_of(n, 7, rater)
        assert order == order_of(n, 7, rater)
        assert set(order) == set(range(n))
        assert len(order) == n + round(0.15 * n)
        twice = [item for item in range(n) if order.count(item) > 1]
        assert len(twice) == round(0.15 * n)
        places = [[i for i, item in enumerate(order) if item == two] for two in twice]
        assert all(last - first > min(GAP, n // 3) for first, last in places)
    assert n < 5 or order_of(n, 7, "Ada") != order_of(n, 7, "Bob")


def test_codes_tell_nothing_and_progress_is_kept(tmp_path: Path) -> None:
    with Notes(tmp_path / "n.sqlite", "x") as notes:
        session = Review(notes).start(items(), 5)
        first = Review(notes).place(session, "Ada")
        Review(notes).answer(session, "Ada", first.code, {"rating": 3})
    with Notes(tmp_path / "n.sqlite", "x") as notes:
        review = Review(notes)
        assert (review.place(session, "Ada").done, review.place(session, "Ada").of) == (1, 69)
        codes = [first.code, *rate_all(review, session, "Ada")]
        assert len(set(codes)) == 69  # a repeat has a code of its own
        assert not set(codes) & set(rate_all(review, session, "Bob"))
        assert review.place(session, "Ada").code is None
        assert review.sessions()[0]["raters"] == [{"rater": "Ada", "done": 69}, {"rater": "Bob", "done": 69}]
        assert "concept" not in str(review.sessions())


def test_kinds_are_told_only_after_the_end_and_then_no_rating_is_taken(tmp_path: Path) -> None:
    with Notes(tmp_path / "n.sqlite") as notes:
        review = Review(notes)
        session = review.start(items(), 5)
        rate_all(review, session, "Ada")
        code = review.place(session, "Bob").code
        with pytest.raises(InputError, match="has not ended"):
            review.table(session)
        review.end(session)
        with pytest.raises(InputError, match="has ended"):
            review.answer(session, "Bob", code, {"rating": 3})
        table = review.table(session)
        assert len(table) == 69
        assert table["repeat"].sum() == 9
        assert table[~table["repeat"]]["kind"].value_counts().to_dict() == WANTED
        asked = [review.item(session, "Ada", c) for c in (code_of(review, session, i) for i in range(3))]
        assert [f"{item.kind} {item.number}" for item in asked] == table["item"].tolist()[:3]


def code_of(review: Review, session: str, position: int) -> str:
    from cellglass.explorer.review.session import _code

    return _code(review._session(session)[0], "Ada", position)


def test_a_rating_stands_and_none_is_skipped(tmp_path: Path) -> None:
    with Notes(tmp_path / "n.sqlite") as notes:
        review = Review(notes)
        session = review.start(items(), 5)
        code = review.place(session, "Ada").code
        given = {"rating": 3, "label": "a", "comment": "b", "seconds": 1}
        assert review.answer(session, "Ada", code, given) == review.answer(session, "Ada", code, given)
        review.answer(session, "Ada", code, {**given, "rating": 4, "seconds": 2})
        first = review.table(session, early=True).iloc[0]
        assert (first["rating"], first["seconds"]) == (4, 1 + 2), "the last one may be changed"
        review.answer(session, "Ada", review.place(session, "Ada").code, given)
        for bad in ({**given, "rating": 3}, {**given, "rating": 4, "label": "other"}):
            with pytest.raises(InputError, match="stand"):
                review.answer(session, "Ada", code, bad)
        with pytest.raises(InputError, match="not the next"):
            review.answer(session, "Ada", code_of(review, session, 5), given)
        for bad in (
            {"rating": 0},
            {"rating": 6},
            {"rating": True},
            {"rating": 2.5},
            {},
            {**given, "seconds": float("nan")},
        ):
            with pytest.raises(InputError):
                review.answer(session, "Ada", review.place(session, "Ada").code, bad)
        with pytest.raises(InputError, match="no such item"):
            review.answer(session, "Bob", code, given)
        with pytest.raises(InputError, match="no such session"):
            review.place("nothing", "Ada")
        assert review.place(session, "Ada").done == 2


def test_ratings_of_two_machines_are_merged(tmp_path: Path) -> None:
    with Notes(tmp_path / "a.sqlite", "x") as a, Notes(tmp_path / "b.sqlite", "x") as b:
        session = Review(a).start(items(), 5)
        assert Review(b).start(items(), 5) == session
        rate_all(Review(a), session, "Ada")
        rate_all(Review(b), session, "Bob")
        assert merge_notes(a, [b.path]).answers == 69
        assert merge_notes(a, [b.path]).answers == 0
        assert set(Review(a).table(session, early=True)["rater"]) == {"Ada", "Bob"}
