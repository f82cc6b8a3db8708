"""Plants one small fault at a time in a room of the package and runs its tests: which faults does nothing notice?

    python tests/mutate.py enrichment --sample 40 --seed 0 --json survivors.json      (or: make mutate ROOM=enrichment)

A fault is one operator, comparison, constant, boolean, keyword argument, ``min``/``max`` or axis changed. Each is
planted in a copy of the tree, never in place, and the mirrored test file of its source file runs first, then the other
tests of the room, until one fails. What survives is listed with its line: either a test is missing, or nothing can tell
the two apart. Exit status 0 whatever survives: it measures, it does not judge.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

COMPARE = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATOR = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
OPERATOR |= {ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult}
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}
NAMES |= {"zeros": "ones", "ones": "zeros", "zeros_like": "ones_like", "argmin": "argmax", "argmax": "argmin"}


class Fault(NamedTuple):
    """A fault: where it is, what stood there, and the whole file with it."""

    file: Path
    line: int
    before: str
    after: str
    text: str


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield copies of `node` with one thing changed."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
        yield _with(node, ops=[COMPARE[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATOR:
        yield _with(node, op=OPERATOR[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield _with(node, value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield _with(node, value=1 - node.value if node.value in (0, 1) else node.value + 1)
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield _with(node, attr=NAMES[node.attr])
    elif isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
        yield _with(node, id=NAMES[node.id])
    elif isinstance(node, ast.Call):
        for i, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])


def faults(file: Path) -> list[Fault]:
    """Return every fault of a file, in the order of its lines; texts, annotations and refusals are left alone."""
    source = file.read_text(encoding="utf-8")
    tree, found = ast.parse(source), []
    skipped = {id(inner) for node in ast.walk(tree) for part in _left_alone(node) for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) not in skipped and hasattr(node, "lineno"):
            for changed in changes(node):
                before, after = ast.get_source_segment(source, node) or "", ast.unparse(changed)
                text = _spliced(source, node, f"({after})" if isinstance(node, ast.expr) else after)
                found.append(Fault(file, node.lineno, before, after, text))
    return sorted(found, key=lambda fault: (fault.line, fault.before, fault.after))


def run(repository: Path, room: str, sample: int, seed: int, limit: float) -> list[dict[str, object]]:
    """Plant `sample` faults of `room` (a folder or file), drawn with `seed`; return what became of each."""
    place = repository / "src" / "cellglass" / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    every = [fault for file in files for fault in faults(file)]
    drawn = sorted(random.Random(seed).sample(range(len(every)), min(sample, len(every))))  # noqa: S311 (no secret)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        ignored = shutil.ignore_patterns(
            "node_modules", ".git", ".venv", "__pycache__", "build", ".*_cache", "demo-atlas*"
        )
        shutil.copytree(repository, tree, ignore=ignored)
        (Path(folder) / "shared").symlink_to(repository.parent / "shared")
        for number in drawn:
            fault = every[number]
            begun, relative = time.monotonic(), fault.file.relative_to(repository)
            original = (tree / relative).read_text(encoding="utf-8")
            (tree / relative).write_text(fault.text, encoding="utf-8")
            end = _tests(tree, relative, room, limit)
            (tree / relative).write_text(original, encoding="utf-8")
            results.append({"file": str(relative), "line": fault.line, "before": fault.before, "after": fault.after,
                            "end": end, "seconds": round(time.monotonic() - begun, 1)})  # fmt: skip
            sys.stderr.write(f"{end:9} {relative}:{fault.line}  {fault.before}  ->  {fault.after}\n")
    return results


def _tests(tree: Path, source: Path, room: str, limit: float) -> str:
    """Return ``killed``, ``survived`` or ``too long``, from the mirrored tests first and then those of the room."""
    inside = source.relative_to("src/cellglass")
    mirrored = tree / "tests" / inside.parent / f"test_{inside.stem.lstrip('_')}.py"
    wanted = [str(path) for path in (mirrored, tree / "tests" / Path(room).with_suffix("")) if path.exists()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *wanted]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return "too long"
    return "survived" if done.returncode == 0 else "killed"


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _left_alone(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
        yield node
    if isinstance(node, ast.AnnAssign):
        yield node.annotation
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from filter(None, [node.returns, *(argument.annotation for argument in node.args.args)])
        yield from (argument.annotation for argument in node.args.kwonlyargs if argument.annotation)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("info", "warning"):
        yield node


def _spliced(source: str, node: ast.AST, new: str) -> str:
    """Return `source` with `new` where `node` stands; positions of ast count bytes."""
    lines = source.encode().splitlines(keepends=True)
    first, last = node.lineno - 1, node.end_lineno - 1  # type: ignore[attr-defined]  # looked at by whoever calls
    head = b"".join(lines[:first]) + lines[first][: node.col_offset]  # type: ignore[attr-defined]
    tail = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])  # type: ignore[attr-defined]
    return (head + new.encode() + tail).decode()


def main() -> None:
    """Parse, run, print how many of each there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", help="folder or file below src/cellglass, such as enrichment or evaluation/probes.py")
    parser.add_argument("--sample", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=300, help="seconds for each fault")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results = run(Path(__file__).resolve().parents[1], given.room, given.sample, given.seed, given.limit)
    counts = {end: sum(one["end"] == end for one in results) for end in ("killed", "too long", "survived")}
    sys.stdout.write(
        f"{len(results)} faults in {given.room}: " + ", ".join(f"{n} {end}" for end, n in counts.items()) + "\n"
    )
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
