"""One sentence of verdict for each panel of an atlas's quality, made from its metrics by a rule.

A sentence says who leads and by how much, and what chance gets. Its rule:

- Figures are compared as they are printed: two whose printed figures are equal tie.
- Of two controls the weak one is named so: it gets less than the other, so that to beat it says less.
- A figure that lies less than `CLEAR` above its null says little, and the sentence says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cellglass.vocabulary import BASES, TESTS, TITLES

CLEAR = 0.1
"""How far a figure must lie above its null; all of them are shares, F1 or similarities between 0 and 1."""

Records = Sequence[Mapping[Any, Any]]


class Figure(NamedTuple):
    """A figure beside its null, None where none is known."""

    value: float
    null: float | None
    n: float | None


def verdicts(records: Records, labels: Iterable[str]) -> dict[str, str]:
    """Return the sentences of the panels that `records` has figures for.

    Parameters
    ----------
    records : sequence of mapping
        The records of ``evaluation.json``.
    labels : iterable of str
        Names of labels, which may have dots themselves.

    Returns
    -------
    dict
        By ``fidelity``, ``reproducibility``, ``stability``, ``probe``, ``annotation`` and ``alignment.LABEL``.
    """
    held = {
        str(one["metric"]): Figure(float(one["value"]), _number(one["null"]), _number(one["n"]))
        for one in records
        if _number(one["value"]) is not None
    }
    labels = sorted(labels, key=len, reverse=True)
    found = {
        "fidelity": _fidelity(held),
        "reproducibility": _reproducibility(held),
        "stability": _stability(held),
        "probe": _probes(held),
        "annotation": _annotation(held),
        **{f"alignment.{name}": text for name, text in _alignment(held, labels).items()},
    }
    return {name: text for name, text in found.items() if text}


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def two(value: float) -> str:
    """Return a figure as all sentences print it."""
    return f"{value:.2f}"


def percent(value: float) -> str:
    """Return a share in whole percent."""
    return f"{100 * value:.0f} %"


def _points(value: float) -> str:
    n = round(100 * value)
    return f"{n} point{'' if n == 1 else 's'}"


def _title(basis: str) -> str:
    return TITLES.get(basis, basis)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _in_order(bases: Iterable[str]) -> list[str]:
    return sorted(bases, key=lambda basis: (BASES.index(basis) if basis in BASES else len(BASES), basis))


def _ranked(values: Mapping[str, float], said: Any) -> tuple[list[str], list[str]]:
    """Return who leads, and who comes next, as printed; those that print alike stand together, in the usual order."""
    levels = sorted({said(value): value for value in values.values()}.values(), reverse=True)
    groups = [[basis for basis in _in_order(values) if said(values[basis]) == said(level)] for level in levels[:2]]
    return groups[0], groups[1] if len(groups) > 1 else []


def _do(names: Sequence[str], verb: str) -> str:
    """Return names with a verb that fits their number: concepts lead, PCA leads."""
    many = len(names) > 1 or names[0].endswith("s")
    return f"{_listed(names)} {verb if many else verb + 's'}"


def _titles(bases: Iterable[str]) -> list[str]:
    return [_title(basis) for basis in bases]


def _controls(named: Sequence[tuple[str, float | None]], top: float, said: Any) -> str:
    """Return what controls get, the hardest first, beside the figure `top`; of two the lower one is the weak null."""
    known = sorted(((value, name) for name, value in named if value is not None), key=lambda one: -one[0])
    if not known:
        return "no null was measured"
    (value, name), *others = known
    near = ", nearly as much" if top - value < CLEAR else ""
    if not others or said(others[0][0]) == said(value):
        return f"{_listed([one for _, one in known])} get {said(value)}{near}"
    return f"{name}, the hard null, get {said(value)}{near}, and {others[0][1]}, the weak one, {said(others[0][0])}"


def _fidelity(held: Mapping[str, Figure]) -> str:
    figure = held.get("fidelity.variance_explained")
    if figure is None:
        return ""
    text = f"The dictionary explains {percent(figure.value)} of the variance of activations in held-out cells"
    if figure.null is None:
        return f"{text}; no null was measured."
    gap = figure.value - figure.null
    if gap < CLEAR:
        return f"{text}, and its null {percent(figure.null)}: this figure says little."
    return f"{text}, {_points(gap)} more than its null ({percent(figure.null)})."


def _reproducibility(held: Mapping[str, Figure]) -> str:
    rows = {m[1]: figure for name, figure in held.items() if (m := re.fullmatch(r"reproducibility\.([^.]+)", name))}
    rivals = {basis: figure.value for basis, figure in rows.items() if basis != "random"}
    if not rivals:
        return ""
    lead, next_ = _ranked(rivals, percent)
    top = rivals[lead[0]]
    text = f"{_first(_do(_titles(lead), 'come'))} back most: {percent(top)}"
    if next_:
        gap = round(100 * top) - round(100 * rivals[next_[0]])
        behind = f"{_listed(_titles(next_))} ({percent(rivals[next_[0]])})"
        text += f", {gap} point{'' if gap == 1 else 's'} more than {behind}"
    counts = {basis: held[f"reproducibility.{basis}.count"].value for basis in rivals if _has(held, basis)}
    most = [basis for basis in _in_order(counts) if counts[basis] == max(counts.values())]
    if most and most != lead:
        ours = f", against {counts[lead[0]]:.4g} of {_title(lead[0])}" if lead[0] in counts else ""
        text += f"; in number {_do(_titles(most), 'lead')} ({counts[most[0]]:.4g}{ours})"
    random = rows["random"].value if "random" in rows else None
    controls = [("random directions", random), ("turned dictionaries", rows[lead[0]].null)]
    text += f"; {_controls(controls, top, percent)}."
    return text if "concepts" in rows else f"{text} Concepts have no figure: no dictionary could be fitted to half."


def _has(held: Mapping[str, Figure], basis: str) -> bool:
    return f"reproducibility.{basis}.count" in held


_WAYS = {"by the cells in which they are active": ".coactivation", "by direction": ""}
"""How latents of two seeds are matched, the more telling way first, and how its metrics end."""


def _stability(held: Mapping[str, Figure]) -> str:
    ways = {}
    for words, end in _WAYS.items():
        form = rf"stability\.([^.]+){re.escape(end)}"
        rows = {m[1]: figure for name, figure in held.items() if (m := re.fullmatch(form, name))}
        if "concepts" in rows:
            random = rows.pop("random", None)
            null = rows["concepts"].null
            ways[words] = rows, (random.value if null is None and random else null)
    if not ways:
        return ""
    words, (rows, null) = next(iter(ways.items()))
    values = {basis: figure.value for basis, figure in rows.items()}
    lead, next_ = _ranked(values, two)
    text = f"{_first(_listed(_titles(lead)))} are most alike between two seeds: "
    text += f"mean similarity {two(values[lead[0]])} {words}"
    if next_:
        gap = float(two(values[lead[0]])) - float(two(values[next_[0]]))
        text += f", {two(gap)} above {_listed(_titles(next_))} ({two(values[next_[0]])})"
    text += "; no null was measured" if null is None else f"; chance gets {two(null)}"
    for other, (rows, chance) in list(ways.items())[1:]:
        if chance is not None:
            ours = rows["concepts"].value
            text += f", and {other} {two(chance)} (concepts {two(ours)})"
            text += ", which says less" if null is None or ours - chance < values["concepts"] - null else ""
    return f"{text}."


def _probes(held: Mapping[str, Figure]) -> str:
    rows: dict[str, dict[str, Figure]] = {}
    for name, figure in held.items():
        if m := re.fullmatch(r"probe\.(.+)\.([^.]+)", name):
            rows.setdefault(m[1], {})[m[2]] = figure
    both = {label: one for label, one in rows.items() if {"concepts", "site"} <= one.keys()}
    if not both:
        return ""
    loss = {label: one["site"].value - one["concepts"].value for label, one in both.items()}
    worst = max(loss, key=lambda label: loss[label])
    one = both[worst]
    said = f"{two(one['concepts'].value)} against {two(one['site'].value)} for {worst}"
    if two(one["site"].value) == two(one["concepts"].value) or loss[worst] < 0:
        text = f"Concepts keep what the whole site says of every label (at worst {said})"
    else:
        text = f"The whole site leads by at most {two(loss[worst])} ({said})"
    nulls = {label: _null(one) for label, one in both.items()}
    weak = [
        f"{label} (null {two(null)})"
        for label, null in nulls.items()
        if null is not None and both[label]["concepts"].value - null < CLEAR
    ]
    if weak:
        return f"{text}; {_listed(weak)} says little, since its null gets nearly as far."
    known = [null for null in nulls.values() if null is not None]
    return f"{text}; {f'the null gets at most {two(max(known))}' if known else 'no null was measured'}."


def _null(row: Mapping[str, Figure]) -> float | None:
    return next((figure.null for figure in row.values() if figure.null is not None), None)


def _annotation(held: Mapping[str, Figure]) -> str:
    any_test = "|".join(map(re.escape, TESTS))
    rows = {}
    for name, figure in held.items():
        if name.startswith("annotation."):
            m = re.fullmatch(rf"annotation\.(.+)\.({any_test})((?:\.\w+)*)", name)
            parts = [m[1], *map(_title, [m[2], *filter(None, m[3].split("."))])] if m else [name.split(".", 1)[1]]
            rows[", ".join(parts)] = figure
    if not rows:
        return ""
    known = {name: figure.value - figure.null for name, figure in rows.items() if figure.null is not None}
    if not known:
        best = max(rows, key=lambda name: rows[name].value)
        return f"{best} finds a gene set for {percent(rows[best].value)} of concepts; no null was measured."

    def told(name: str) -> str:
        figure = rows[name]
        return f"{percent(figure.value)} of concepts against {percent(figure.null or 0)} of random genes"

    best, worst = max(known, key=lambda name: known[name]), min(known, key=lambda name: known[name])
    if known[best] < CLEAR:
        return f"No gene sets lie clearly above random genes: at best {best} ({told(best)})."
    text = f"{best} leads: {told(best)}, {_points(known[best])} more"
    close = sorted((name for name in known if known[name] < CLEAR), key=lambda name: known[name])
    if close:
        return f"{text}; {_listed([f'{name} ({told(name)})' for name in close[:3]])} says little."
    return f"{text}; least clear is {worst} ({_points(known[worst])})." if worst != best else f"{text}."


def _alignment(held: Mapping[str, Figure], labels: Sequence[str]) -> dict[str, str]:
    """Return the sentence of each label; a mean that is stated is taken, and else worked out over values."""
    found: dict[str, dict[str, dict[str, Figure]]] = {}
    for name, figure in held.items():
        if not name.startswith("alignment."):
            continue
        rest = name.removeprefix("alignment.")
        label = next((one for one in labels if rest.startswith(f"{one}.")), rest.split(".")[0])
        value, _, basis = rest[len(label) + 1 :].rpartition(".")
        if value:
            found.setdefault(label, {}).setdefault(value, {})[basis] = figure
    return {label: _aligned(values) for label, values in found.items()}


def _aligned(values: Mapping[str, Mapping[str, Figure]]) -> str:
    single = {value: bases for value, bases in values.items() if value != "mean"} or dict(values)
    names = {basis for bases in single.values() for basis in bases}
    mean = {basis: _mean([bases[basis].value for bases in single.values() if basis in bases]) for basis in names}
    mean |= {basis: figure.value for basis, figure in values.get("mean", {}).items()}
    rivals = {basis: value for basis, value in mean.items() if basis != "random"}
    if not rivals:
        return ""
    lead, next_ = _ranked(rivals, two)
    text = f"{_first(_do(_titles(lead), 'tie' if len(lead) > 1 else 'lead'))}: mean F1 {two(rivals[lead[0]])}"
    if next_:
        gap = float(two(rivals[lead[0]])) - float(two(rivals[next_[0]]))
        text += f", {two(gap)} above {_listed(_titles(next_))} ({two(rivals[next_[0]])})"
    if "concepts" in rivals and len(rivals) > 1:
        with_concepts = [bases for bases in single.values() if "concepts" in bases]
        best = sum(
            bases["concepts"].value >= max(figure.value for basis, figure in bases.items() if basis != "random")
            for bases in with_concepts
        )
        ours = "" if "concepts" in [*lead, *next_] else f"get {two(rivals['concepts'])} and "
        text += f"; concepts {ours}are best for {best} of {len(with_concepts)} values"
    nulls = [bases["concepts"].null for bases in single.values() if "concepts" in bases]
    known = [null for null in nulls if null is not None]
    shuffled = _mean(known) if known else None
    controls = [("random directions", mean.get("random")), ("shuffled labels", shuffled)]
    return f"{text}; {_controls(controls, rivals[lead[0]], two)}."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
