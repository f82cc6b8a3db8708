"""The explorer on an atlas of 1,000,000 cells x 4,096 concepts: a real server, a real browser, readers and writers.

What is measured: from the start of the server to its link; the first picture, of a server that was started that
moment (cold) and of one that has made all that it shares (warm), each in a browser with an empty cache; from a concept
to the next, on its card and on the cells; what marks 100,000 cells; 50 readers and 10 writers at once, without a pause
(so that each waits for the others) and at the pace of a person who asks every second; the most memory that server and
browser held. Where each time begins and ends stands in `explorer_page.py`. The browser draws with the processor: there
is no graphics card, and server, browser and readers share the cores. The atlas comes from the disk's cache in memory.

    python benchmarks/explorer.py --json benchmarks/results/explorer.json [--atlas ATLAS]
    python benchmarks/explorer.py --quick
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import Row, main, timed
from explorer_atlas import make_atlas
from explorer_page import Page, browser, colour_cells, jump_cards, peak, quantile, turn_cards

READERS, WRITERS = 50, 10
NAIVE = """
import json, sys, time
from pathlib import Path

start = time.perf_counter()
import anndata
table = anndata.read_zarr(sys.argv[1])
column = table.X[:, 0].toarray()
first = time.perf_counter() - start
took = []
for j in map(int, sys.argv[2:]):
    start = time.perf_counter()
    content = table.X[:, j].toarray().tobytes()
    took.append(time.perf_counter() - start)
lines = Path("/proc/self/status").read_text().splitlines()
held = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(json.dumps([first, sorted(took)[len(took) // 2], len(content), held / 1024]))
"""


class Server(NamedTuple):
    """A running `cellglass explore`."""

    process: subprocess.Popen[str]
    url: str
    seconds: float
    """From its start to its link."""

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.split("/")[2]

    def get(self, path: str, body: bytes | None = None) -> bytes:
        """Return an answer, or raise OSError."""
        link = http.client.HTTPConnection(self.address, timeout=600)
        link.request("GET" if body is None else "POST", f"/{path}", body, {"origin": f"http://{self.address}"})
        answer = link.getresponse()
        content = answer.read()
        link.close()
        if answer.status != 200:
            raise OSError(f"{path}: {answer.status} {content[:200]!r}")
        return content


@contextmanager
def served(atlas: Path, notes: Path) -> Iterator[Server]:
    """Start the command and wait for its link; stop it as Ctrl-C does."""
    arguments = ["explore", str(atlas), "--no-browser", "--port", "0", "--notes", str(notes)]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "cellglass", *arguments],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        for line in process.stdout or ():
            if found := re.search(r"http://\S+", line):
                yield Server(process, found[0], time.perf_counter() - start)
                break
        else:
            raise OSError(f"the server ended with {process.wait()}")
    finally:
        process.terminate()
        process.wait(30)


def run(quick: bool) -> Iterator[Row]:
    """Measure first pictures, steps, marks, many at once, and memory."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        atlas = OPTIONS.atlas or make_atlas(place / "atlas", *((20_000, 256) if quick else (1_000_000, 4096)))
        with browser() as chromium:
            peaks: list[float] = []
            yield Row(
                "version",
                "Chromium, without a window, WebGL on the processor",
                float(chromium.version.split(".")[0]),
                "",
            )
            yield from cold(atlas, chromium, place, peaks)
            with served(atlas, place / "notes.sqlite") as server:
                about = json.loads(server.get("data/manifest.json"))
                name = f"{about['n_cells']:,} cells x {about['n_concepts']:,} concepts"
                yield from ready(server, name)
                yield from warm(chromium, server, 1 if quick else 3)
                yield from steps(chromium, server, name, 8 if quick else 50)
                yield from marks(server, name, about["n_cells"], 3 if quick else 5)
                yield Row("peak_memory", f"{name}: server, before many ask at once", peak(server.process.pid), "MiB")
                yield from many(server, name, 5 if quick else 60)
                peaks.append(peak(server.process.pid))
                yield Row("peak_memory", f"{name}: server, over everything", max(peaks), "MiB")
                yield from naive(atlas, server, name, peaks[-1])


def cold(atlas: Path, chromium: Any, place: Path, peaks: list[float]) -> Iterator[Row]:
    """Open the first view, and then of another server the cells, as soon as the link is there."""
    for view in ("home", "cells"):
        with served(atlas, place / f"{view}.sqlite") as server:
            page = Page(chromium, server.url)
            if view == "home":
                shown = page.home()
                yield Row("seconds", "from the command to its link", server.seconds, "s")
                yield from pictures(shown, "cold")
            else:
                shown = page.cells(label_of(server))[:2]
                yield from pictures(shown, "cold", cells=True)
            peaks.append(peak(server.process.pid))
            page.close()


def pictures(shown: tuple[float, float], how: str, *, cells: bool = False) -> Iterator[Row]:
    """Return rows of a first picture."""
    parts = (
        ("the cells, a first whole picture", "the cells, in the colours of a label")
        if cells
        else ("the list of concepts", "all small maps beside it")
    )
    for part, seconds in zip(parts, shown, strict=True):
        yield Row("first_picture", f"{how}: {part}", seconds, "s")


def label_of(server: Server) -> str:
    """Return the label that colours the cells at first."""
    labels = json.loads(server.get("data/manifest.json"))["labels"]
    return str(next(label["name"] for label in labels if label["kind"] == "category"))


def ready(server: Server, name: str) -> Iterator[Row]:
    """Wait until the server has made what it makes beside its first answers."""
    start = time.perf_counter()
    for path in ("data/cards/0.json", "data/gene-concepts/0.json", "data/term-concepts/0.json", "data/pairs/0.json"):
        server.get(path)
    yield Row("seconds", f"{name}: from the link until every card answers at once", time.perf_counter() - start, "s")
    server.get("api/marks", np.arange(100, dtype="<u4").tobytes())
    yield Row("seconds", f"{name}: from the link until marks answer at once", time.perf_counter() - start, "s")


def warm(chromium: Any, server: Server, rounds: int) -> Iterator[Row]:
    """Open both views, each time in a browser with an empty cache."""
    home, cells = [], []
    for _ in range(rounds):
        for shown in (home, cells):
            page = Page(chromium, server.url)
            shown.append(page.home() if shown is home else page.cells(label_of(server))[:2])
            page.close()
    yield from pictures((statistics.median(a for a, _ in home), statistics.median(b for _, b in home)), "warm")
    yield from pictures(
        (statistics.median(a for a, _ in cells), statistics.median(b for _, b in cells)), "warm", cells=True
    )


def steps(chromium: Any, server: Server, name: str, count: int) -> Iterator[Row]:
    """Go from concept to concept: on cards in order, on cards far apart, and on the cells."""
    columns = json.loads(server.get("data/concepts.json"))
    names = {
        latent: text
        for latent, text, n in zip(columns["latent"], columns["name"], columns["n_active"], strict=True)
        if n
    }
    far = np.random.default_rng(1).permutation(list(names)).tolist()
    page = Page(chromium, server.url)
    yield from spread(turn_cards(page, names, list(names)[len(names) // 3], count), f"{name}: the next concept's card")
    yield from spread(jump_cards(page, names, far[:count]), f"{name}: any other concept's card")
    used = page.memory(chromium)
    page.close()
    yield from memory(used, f"{name}: {2 * count} cards")
    page = Page(chromium, server.url)
    _, _, points = page.cells(label_of(server))
    yield from spread(
        colour_cells(page, names, far[count : 2 * count]), f"{name}: {points:,} points by another concept"
    )
    used = page.memory(chromium)
    page.close()
    yield from memory(used, f"{name}: {count} concepts on the cells")


def spread(took: list[float], name: str, *, versus: str | None = None) -> Iterator[Row]:
    """Return rows of the median and the high quantiles of milliseconds."""
    for share in (0.5, 0.95, 0.99)[: 3 if len(took) >= 100 else 2]:
        yield Row(f"p{round(share * 100)}", name, quantile(took, share), "ms", versus)


def memory(used: Any, name: str) -> Iterator[Row]:
    """Return rows of what the browser took."""
    yield Row("browser_heap", f"{name}: objects of the page", used.heap, "MiB")
    yield Row("peak_memory", f"{name}: process of the page", used.page, "MiB")
    yield Row("peak_memory", f"{name}: process of graphics (all pages so far)", used.graphics, "MiB")


def marks(server: Server, name: str, n_cells: int, rounds: int) -> Iterator[Row]:
    """Ask what marks a tenth of the cells, against all others and against another tenth."""
    order = np.random.default_rng(2).permutation(n_cells)
    some, others = (np.sort(part) for part in np.split(order[: 2 * (n_cells // 10)], 2))
    for of in ("concepts", "genes"):
        for how, query, cells in (
            ("", "", some),
            (f" against {len(others):,} others", f"&a={len(some)}", np.concatenate([some, others])),
        ):
            took = []
            for _ in range(rounds):
                with timed() as one:
                    server.get(f"api/marks?of={of}{query}", cells.astype("<u4").tobytes())
                took.append(one.seconds)
            yield Row("seconds", f"{name}: {of} that mark {len(some):,} cells{how}", statistics.median(took), "s")


def many(server: Server, name: str, seconds: float) -> Iterator[Row]:
    """Let readers and writers ask at once, from another process."""
    place = Path(__file__).parent / "explorer_load.py"
    for pause in (0.0, 1.0):
        how = "without a pause" if pause == 0 else "each about once a second"
        numbers = (seconds, pause, READERS, WRITERS)
        done = subprocess.run(
            [sys.executable, str(place), server.address, *map(str, numbers)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        told = json.loads(done.stdout)
        who = f"{name}: {READERS} readers, {WRITERS} writers, {how}"
        for kind, took in sorted(told["took"].items()):
            milliseconds = [1000 * one for one in took]
            yield Row("p50", f"{who}: {kind}", quantile(milliseconds, 0.5), "ms")
            yield Row("p99", f"{who}: {kind}", quantile(milliseconds, 0.99), "ms")
        asked = sum(map(len, told["took"].values()))
        yield Row("answers_per_second", who, asked / told["seconds"], "1/s")
        yield Row("errors", who, len(told["errors"]), "")
        for error in told["errors"][:5]:
            print(error, file=sys.stderr)
        yield Row("notes", f"{who}: acknowledged", told["notes"], "")
        yield Row("notes", f"{who}: conflicts that were told and settled", told["conflicts"], "")
        yield Row("notes", f"{who}: lost", told["lost"], "")


def naive(atlas: Path, server: Server, name: str, held: float) -> Iterator[Row]:
    """Read single concepts as a notebook would: all of the AnnData, and of it one column with all its zeros."""
    latents = json.loads(server.get("data/concepts.json"))["latent"]
    some = np.random.default_rng(3).choice(len(latents), 21, replace=False).tolist()
    took, size = [], 0
    for place in some:
        with timed() as one:
            size = len(server.get(f"data/activations/{latents[place]}.bin"))
        took.append(one.seconds)
    ours = statistics.median(took)
    arguments = [sys.executable, "-c", NAIVE, str(atlas / "concepts.zarr"), *map(str, some)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    opened, sliced, dense, most = json.loads(done.stdout.splitlines()[-1])
    what = f"{name}: a concept's activations from the server"
    yield Row("milliseconds", what, ours * 1000, "ms", "opening the AnnData and one dense column", opened / ours)
    yield Row("milliseconds", what, ours * 1000, "ms", "one dense column of an AnnData held in memory", sliced / ours)
    yield Row(
        "bytes", f"{name}: a concept's activations as the page gets them", size, "B", "one dense column", dense / size
    )
    yield Row(
        "peak_memory", f"{name}: server over everything, beside the activations alone", held, "MiB",
        "concepts.zarr opened as an AnnData", most / held,
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--atlas", type=Path)
    OPTIONS, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    main(run)
