"""What came of the blind reviews in a file of notes: for each session who rated how much, and the agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellglass.errors import InputError
from cellglass.evaluation.rater_agreement import agreement

if TYPE_CHECKING:
    from cellglass.explorer.review.session import Review


def summarize(review: Review, session: str | None = None, *, early: bool = False) -> list[dict[str, Any]]:
    """Return, for each review, ``session``, ``when``, ``ended``, ``of``, ``raters`` and what `agreement` finds.

    Parameters
    ----------
    session : str, optional
        The id of one review; without it all that have ended are taken, or all with `early`.
    early : bool
        Whether a review that has not ended is told of; whoever rates in it should not read that.

    Raises
    ------
    InputError
        If there is no such review, none that has ended, or none that was rated.
    """
    known = {found["id"]: found for found in review.sessions()}
    if session is not None and session not in known:
        there = ", ".join(known) or "none"
        raise InputError(f"--session {session}: there is no such review; there are: {there}")
    chosen = [known[session]] if session is not None else list(known.values())
    open_ones = [found["id"] for found in chosen if found["ended"] is None]
    if not early:
        chosen = [found for found in chosen if found["ended"] is not None]
    if not chosen:
        why = f"{', '.join(open_ones)} has not ended; end it on the page, or add --early" if open_ones else ""
        raise InputError(why or "there are no reviews in these notes; start one on the page, under Review")
    told = []
    for found in chosen:
        table = review.table(found["id"], early=True)
        if len(table):
            head = {"session": found["id"], **{key: found[key] for key in ("when", "ended", "of", "raters")}}
            told.append({**head, **agreement(table)})
    if not told:
        raise InputError("nobody has rated anything yet; rate on the page, under Review")
    return told
