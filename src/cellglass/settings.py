"""What is known of a dataclass of settings: of each field its type, its default and the text below it.

The text below a field is its one description: the command line's help shows it too.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from functools import cache
from typing import Any, NamedTuple, get_type_hints


class Setting(NamedTuple):
    """A field.

    Attributes
    ----------
    name : str
    hint : type
    default : object
    doc : str
        In one line; empty where the source is not at hand.
    """

    name: str
    hint: Any
    default: Any
    doc: str


@cache
def settings_of(kind: type[Any]) -> dict[str, Setting]:
    """Return the fields of a dataclass, by name, in their order; those of classes that it extends first."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            docs |= _docs(base)
    hints, found = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found[field.name] = Setting(field.name, hints[field.name], default, docs.get(field.name, ""))
    return found


def _docs(kind: type[Any]) -> dict[str, str]:
    """Return the text below each field of a class; none where there is no source to read."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    assert isinstance(body, ast.ClassDef), "it is the source of a class"  # noqa: S101
    docs = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = ast.literal_eval(below.value) if isinstance(below.value, ast.Constant) else None
            if isinstance(text, str):
                docs[field.target.id] = " ".join(text.split())
    return docs
