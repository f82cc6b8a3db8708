"""Readers and writers that ask the live explorer at the same time, for `explorer.py`, which runs it as a process.

Readers ask for activations, cards, indices of genes and labels at random. Writers write notes on a few concepts that
they share; one who is told that somebody came between (409) reads what stands there and writes again upon it. Whatever
else than a 200 comes is an error. At the end every write that was acknowledged must be in the history of its concept.
Prints JSON.

    python benchmarks/explorer_load.py ADDRESS SECONDS PAUSE READERS WRITERS
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

SHARED = 20
"""Concepts that the writers share."""


class Asker(threading.Thread):
    """One reader or writer with a connection of its own.

    Parameters
    ----------
    address : str
        ``127.0.0.1:8765``.
    until : float
        When it stops, by `time.monotonic`.
    pause : float
        Seconds that it waits between two questions, on average.
    """

    def __init__(self, address: str, until: float, pause: float, seed: int):
        super().__init__()
        self.address, self.until, self.pause = address, until, pause
        self.random = random.Random(seed)  # noqa: S311
        self.took: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []
        self.link = http.client.HTTPConnection(address, timeout=60)

    def run(self) -> None:
        """Ask until the time is over."""
        time.sleep(self.random.uniform(0, self.pause))
        while time.monotonic() < self.until:
            try:
                self.step()
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.errors.append(f"{type(error).__name__}: {error}"[:200])
                self.link.close()
            if self.pause:
                time.sleep(self.random.uniform(0.5, 1.5) * self.pause)
        self.link.close()

    def step(self) -> None:
        """Ask once."""
        raise NotImplementedError

    def ask(self, kind: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Ask for a path, keep how long the whole answer took, and return it."""
        headers = {} if body is None else {"origin": f"http://{self.address}", "content-type": "application/json"}
        start = time.perf_counter()
        self.link.request("GET" if body is None else "POST", f"/{path}", body, headers)
        answer = self.link.getresponse()
        content = answer.read()
        self.took[kind].append(time.perf_counter() - start)
        if answer.status not in ((200,) if body is None else (200, 409)):
            self.errors.append(f"{path}: {answer.status} {content[:120]!r}")
        return answer.status, content


class Reader(Asker):
    """Asks for one file after the other, each time another concept, gene or label."""

    def __init__(self, *values: Any, manifest: dict[str, Any], latents: list[int]):
        super().__init__(*values)
        m = manifest
        self.kinds: dict[str, Callable[[], str]] = {
            "activations": lambda: f"data/activations/{self.random.choice(latents)}.bin",
            "card": lambda: f"data/cards/{self.random.choice(latents) // m['card_shard']}.json",
            "concepts of genes": lambda: (
                f"data/gene-concepts/{self.random.randrange(m['n_genes']) // m['gene_shard']}.json"
            ),
            "label": lambda: self.random.choice(m["labels"])["file"],
        }

    def step(self) -> None:
        """Ask for one file."""
        kind = self.random.choice(list(self.kinds))
        _, content = self.ask(kind, self.kinds[kind]())
        if not content:
            self.errors.append(f"{kind}: the answer is empty")


class Writer(Asker):
    """Writes notes on concepts that others write on too."""

    def __init__(self, *values: Any, shared: list[int], who: str):
        super().__init__(*values)
        self.shared, self.who, self.n = shared, who, 0
        self.known: dict[int, str | None] = {}
        self.kept: list[tuple[int, str, str]] = []
        """Concept, id and label of each revision that was acknowledged."""
        self.conflicts = 0

    def step(self) -> None:
        """Write one note; where somebody came between, once more upon what stands there, until it is taken."""
        latent = self.random.choice(self.shared)
        self.n += 1
        label = f"{self.who} says {self.n}"
        while True:
            note = {"latent": latent, "who": self.who, "base": self.known.get(latent), "label": label, "text": "a note"}
            status, content = self.ask("note written", "api/notes", json.dumps(note).encode())
            told = json.loads(content)
            if status != 409:
                break
            self.conflicts += 1
            self.known[latent] = told["present"]["person"]["id"]
        if status == 200:
            self.known[latent] = told["person"]["id"]
            self.kept.append((latent, told["person"]["id"], label))


def main(address: str, seconds: float, pause: float, readers: int, writers: int) -> dict[str, Any]:
    """Return times by kind, errors, conflicts, and how many acknowledged notes are not in the history."""
    first = Reader(address, 0.0, 0.0, 0, manifest={}, latents=[])
    manifest = json.loads(first.ask("", "data/manifest.json")[1])
    latents = json.loads(first.ask("", manifest["concept_columns"])[1])["latent"]
    first.link.close()  # the server ends a connection that nobody uses; the next question opens another
    until = time.monotonic() + seconds
    reading = [Reader(address, until, pause, i, manifest=manifest, latents=latents) for i in range(readers)]
    writing = [
        Writer(address, until, pause, 1000 + i, shared=latents[:SHARED], who=f"writer {i}") for i in range(writers)
    ]
    start = time.perf_counter()
    for asker in (*reading, *writing):
        asker.start()
    for asker in (*reading, *writing):
        asker.join()
    spent = time.perf_counter() - start
    took: dict[str, list[float]] = defaultdict(list)
    for asker in (*reading, *writing):
        for kind, some in asker.took.items():
            took[kind] += some
    errors = [error for asker in (*reading, *writing) for error in asker.errors]
    kept = [note for writer in writing for note in writer.kept]
    lost = len(kept)
    for latent in latents[:SHARED]:
        history = json.loads(first.ask("", f"api/notes/history?latent={latent}")[1])["revisions"]
        there = {(latent, revision["id"], revision["label"]) for revision in history}
        lost -= sum(note in there for note in kept)
    conflicts = sum(writer.conflicts for writer in writing)
    return {
        "took": took, "seconds": spent, "errors": errors + first.errors, "notes": len(kept), "lost": lost,
        "conflicts": conflicts,
    }  # fmt: skip


if __name__ == "__main__":
    where, length, wait, n, m = sys.argv[1:]
    print(json.dumps(main(where, float(length), float(wait), int(n), int(m))))
