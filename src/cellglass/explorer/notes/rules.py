"""What a note is: its fields, what each may hold, and the id by which the same note is known in every file.

Pure description: nothing here opens a file. A wrong field is an InputError that names it.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cellglass.errors import InputError
from cellglass.vocabulary import CONFIDENCES, STATUSES

KINDS = ("person", "machine")
"""By whom a note can be. Each keeps a history of its own, so that neither ever covers the other."""
LENGTHS = {"label": 200, "text": 10_000, "who": 80}
MAX_TAGS, TAG_LENGTH = 20, 50
LARGEST_LATENT = 2**31 - 1
CONTENT = ("label", "text", "confidence", "tags", "status")
"""The fields that a revision changes."""
EMPTY: Mapping[str, Any] = {"label": "", "text": "", "confidence": None, "tags": [], "status": "open"}


def now() -> str:
    """Return the present time as notes keep it: ISO 8601, UTC, with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def check_text(value: object, name: str, limit: int, *, needed: bool = False) -> str:
    """Return `value` as clean text in Unicode's composed form, or raise InputError."""
    if not isinstance(value, str):
        raise InputError(f"{name}: it must be text")
    clean = unicodedata.normalize("NFC", value).replace("\r\n", "\n").strip()
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in clean):
        raise InputError(f"{name}: it holds characters that are no text; type it again")
    if len(clean) > limit:
        raise InputError(f"{name}: it has {len(clean):,} characters; at most {limit:,} are allowed")
    if needed and not clean:
        raise InputError(f"{name}: it is empty; fill it in")
    return clean


def check_latent(value: object) -> int:
    """Return a latent number, or raise InputError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_LATENT:
        raise InputError("latent: it must be the number of a concept")
    return value


def check_content(note: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `CONTENT`; what is not given is as in `EMPTY`."""
    confidence, tags = note.get("confidence"), note.get("tags", [])
    if confidence is not None and (isinstance(confidence, bool) or confidence not in range(1, len(CONFIDENCES) + 1)):
        raise InputError(f"confidence: it must be a whole number from 1 to {len(CONFIDENCES)}, or null")
    if not isinstance(tags, list) or len(tags) > MAX_TAGS:
        raise InputError(f"tags: they must be a list of at most {MAX_TAGS} texts")
    status = note.get("status", "open")
    if status not in STATUSES:
        raise InputError(f"status: it must be one of {', '.join(STATUSES)}")
    return {
        "label": check_text(note.get("label", ""), "label", LENGTHS["label"]).replace("\n", " "),
        "text": check_text(note.get("text", ""), "text", LENGTHS["text"]),
        "confidence": None if confidence is None else int(confidence),
        "tags": list(dict.fromkeys(check_text(tag, "tags", TAG_LENGTH, needed=True) for tag in tags)),
        "status": status,
    }


def check_who(value: object) -> str:
    """Return the name of whoever writes, or raise InputError."""
    return check_text(value, "who", LENGTHS["who"], needed=True).replace("\n", " ")


def check_when(value: object) -> str:
    """Return a time as `now` writes it, or raise InputError."""
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]  # anything else fails here as it should
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, TypeError, OverflowError):
        raise InputError("when: it must be a time as ISO 8601 with its zone") from None


def revision_id(revision: Mapping[str, Any]) -> str:
    """Return the id of a revision: of what was written about which concept, by whom and when."""
    told = {name: revision[name] for name in ("latent", "by", "who", "when", *CONTENT)}
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_revision(value: object) -> dict[str, Any]:
    """Return a revision from a foreign file with its own id, or raise InputError.

    The id is computed anew, so that a note which was changed by hand is another note.
    """
    if not isinstance(value, Mapping):
        raise InputError("a note is no object")
    if value.get("by") not in KINDS:
        raise InputError(f"by: it must be one of {', '.join(KINDS)}")
    done = {
        "latent": check_latent(value.get("latent")),
        "by": value["by"],
        "who": check_who(value.get("who")),
        "when": check_when(value.get("when")),
        **check_content(value),
    }
    links = {name: check_link(value.get(name), name) for name in ("base", "restores", "undoes")}
    also = value.get("also") or []
    if not isinstance(also, list) or len(also) > 1000:
        raise InputError("also: it must be a list of ids")
    also = [check_link(item, "also") for item in also if item is not None]
    return {"id": revision_id(done), **done, **links, "also": also}


def check_link(value: object, name: str) -> str | None:
    """Return the id of a revision or None, or raise InputError."""
    if value is None:
        return None
    if not isinstance(value, str) or len(value) != 32 or set(value) - set("0123456789abcdef"):
        raise InputError(f"{name}: it must be the id of a note, or null")
    return value


def after(when: str) -> str:
    """Return the moment after `when`, as `now` writes it."""
    return (datetime.fromisoformat(when) + timedelta(microseconds=1)).isoformat(timespec="microseconds")
