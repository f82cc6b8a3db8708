"""Registries: name -> what it stands for, of ours and of other packages, each imported when it is first asked for.

A method of ours is one file and one line in the registry of its room. Another package adds one by an entry point,

    [project.entry-points."cellglass.tests"]
    mine = "my_package.mine:ENTRY"

with the group that the registry names. Asking for names imports nothing. It knows nothing of what is registered.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from cellglass.errors import InputError

E = TypeVar("E")


class Registry(Mapping[str, E], Generic[E]):
    """Names and their entries, ours first.

    Parameters
    ----------
    what : str
        What an entry is called in errors, such as ``gene-set test``.
    group : str
        The group of entry points, such as ``cellglass.tests``.
    kind : type
        What every entry must be.
    built_in : mapping of str to str
        Name -> ``module:attribute``.
    """

    def __init__(self, what: str, group: str, kind: type[E], built_in: Mapping[str, str]) -> None:
        self.what, self.group, self.kind, self.built_in = what, group, kind, dict(built_in)
        self._loaded: dict[str, E] = {}

    @cached_property
    def _others(self) -> dict[str, EntryPoint]:
        """The entry points of other packages; a name that is taken is refused when it is asked for, not before."""
        found: dict[str, EntryPoint] = {}
        for point in sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value)):
            taken = f"of {_package(found[point.name])}" if point.name in found else "of cellglass"
            if point.name in found or point.name in self.built_in:
                raise InputError(
                    f"{_package(point)} brings a {self.what} {point.name!r}, but there is one {taken}; uninstall one"
                )
            found[point.name] = point
        return found

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        yield from self._others

    def __len__(self) -> int:
        return len(self.built_in) + len(self._others)

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._others

    def __getitem__(self, name: str) -> E:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def find(self, name: str, where: str = "") -> E:
        """Return the entry called `name`; InputError names those that there are, and `where` it was asked for."""
        self.check(name, where)
        return self[name]

    def check(self, name: str, where: str = "") -> None:
        """Raise InputError unless there is an entry called `name`; imports nothing."""
        if name not in self:
            near = difflib.get_close_matches(str(name), list(self), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            place = f"{where}: " if where else ""
            raise InputError(f"{place}there is no {self.what} {name!r}; {hint}there are: {', '.join(self)}")

    def _load(self, name: str) -> E:
        if name in self.built_in:
            module, _, attribute = self.built_in[name].partition(":")
            entry = getattr(import_module(module), attribute)
        else:
            point = self._others[name]
            try:
                entry = point.load()
            except Exception as error:  # whatever another package does
                reason = f"{type(error).__name__}: {error}"
                raise InputError(
                    f"the {self.what} {name!r} of {_package(point)} cannot be loaded ({reason}); "
                    "mend or uninstall that package"
                ) from error
            if not isinstance(entry, self.kind):
                raise InputError(
                    f"the {self.what} {name!r} of {_package(point)} is a {type(entry).__name__}, not a "
                    f"{self.kind.__name__}; mend or uninstall that package"
                )
        found: E = entry
        return found


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist is not None else point.value
