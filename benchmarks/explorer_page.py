"""How long the explorer's page takes in a real browser, for `explorer.py`, which runs the server.

The page is not asked for its own figures: a script that is put before it listens to keys and clicks, and to the calls
that paint. A time begins where the browser says that navigation, key or click happened, and ends

- for the list of concepts, and for a concept's card, with the frame after what is awaited stands there: the list has
  rows; the card has its name, genes, gene sets and notes, and its map of the cells, which comes last of what is in
  sight, is painted (panels further down the card are built right after it);
- for the view of the cells, when a pixel has been read back after the last drawing, so that the graphics card (or here
  the processor in its place) is done with all points, coloured by what the heading names. The last is the one after
  which nothing is drawn for four frames: a page may draw many points in several steps.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = (
    *("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--disable-gpu-compositing", "--disable-gpu-rasterization"),  # as without a graphics card
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
)
LISTEN = """
(() => {
  const bench = window.bench = { from: 0, list: 0, maps: [], draws: [], points: 0, asked: null };
  const frame = (then) => requestAnimationFrame(() => {
    const after = new MessageChannel();
    after.port1.onmessage = () => then(performance.now());
    after.port2.postMessage(0);
  });
  const tell = (at, title) => {
    if (!bench.asked?.is(title)) return;
    bench.asked.done([bench.from, at]);
    bench.asked = null;
  };
  const heard = (event) => { bench.from = event.timeStamp; };
  for (const kind of ["keydown", "click"]) addEventListener(kind, heard, true);
  const put = CanvasRenderingContext2D.prototype.putImageData;
  CanvasRenderingContext2D.prototype.putImageData = function (...given) {
    put.apply(this, given);
    frame((at) => { bench.maps.push(at); tell(at); });
  };
  const { drawArrays } = WebGL2RenderingContext.prototype;
  let turn = 0;
  const later = (frames, then) => requestAnimationFrame(() => (frames > 1 ? later(frames - 1, then) : then()));
  WebGL2RenderingContext.prototype.drawArrays = function (...given) {
    drawArrays.apply(this, given);
    bench.points = Math.max(bench.points, given[1] + given[2]);
    const mine = ++turn;
    queueMicrotask(() => {
      if (mine !== turn) return;
      this.readPixels(0, 0, 1, 1, this.RGBA, this.UNSIGNED_BYTE, new Uint8Array(4));
      const [at, title] = [performance.now(), document.querySelector(".pane h2")?.textContent ?? ""];
      later(4, () => {
        if (mine !== turn) return;
        bench.draws.push([at, title]);
        tell(at, title);
      });
    });
  };
  const rows = () => {
    if (document.querySelector(".list .line")) frame((at) => { bench.list = at; tell(at); });
    else requestAnimationFrame(rows);
  };
  requestAnimationFrame(rows);
  bench.ask = (is) => {
    const late = (fail) => setTimeout(() => fail(new Error("the page did not show it within a minute")), 60_000);
    bench.promise = new Promise((done, fail) => { bench.asked = { is, done }; late(fail); });
  };
})();
"""
ON_CARD = """() => bench.ask(() =>
  document.querySelector("h1")?.textContent === {name} && document.querySelector(".columns canvas"))"""
ON_CELLS = """() => bench.ask((title) => title === {name})"""
WAIT = """() => new Promise((done, fail) => {{
  const is = {condition};
  setTimeout(() => fail(new Error("the page did not show it within two minutes")), 120_000);
  (function look() {{ is() ? done() : setTimeout(look, 20); }})();
}})"""
WAKE = """() => new Promise((done) => {
  const gl = document.body.appendChild(document.createElement("canvas")).getContext("webgl2");
  gl.clear(gl.COLOR_BUFFER_BIT);
  gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  requestAnimationFrame(() => setTimeout(done, 100));
})"""
AIM = """(to) => {
  const link = document.querySelector(".links-list a") ?? document.querySelector(".nav a");
  [link.href, link.id] = [`#/c/${to}`, "jump"];
}"""


class Memory(NamedTuple):
    """What the browser took, MiB: the heap of the page, and the most that its process and that of graphics held."""

    heap: float
    page: float
    graphics: float


class Page:
    """One tab of a fresh context, that has nothing in its cache."""

    def __init__(self, browser: Any, url: str, patience: float = 120):
        self.context = browser.new_context(viewport={"width": 1280, "height": 860})
        self.tab = self.context.new_page()
        self.url = url
        self.tab.set_default_timeout(patience * 1000)
        self.tab.add_init_script(LISTEN)

    def home(self) -> tuple[float, float]:
        """Open the first view; return the seconds to the list of concepts, and to the last of the small maps."""
        self.tab.goto(self.url)
        self.until("() => bench.list > 0 && bench.maps.length >= document.querySelectorAll('.glimpses canvas').length")
        seen: tuple[float, float] = tuple(
            self.tab.evaluate("() => [bench.list / 1000, Math.max(...bench.maps) / 1000]")
        )
        return seen

    def cells(self, label: str) -> tuple[float, float, int]:
        """Open the view of the cells; return the seconds to the points, to their colours, and how many they are."""
        self.tab.goto(f"{self.url}#/cells")
        self.until(f"() => bench.draws.some(([, title]) => title === {quoted(label)})")
        draws, points = self.tab.evaluate("() => [bench.draws, bench.points]")
        return draws[0][0] / 1000, next(at for at, title in draws if title == label) / 1000, points

    def until(self, condition: str) -> None:
        """Wait until something is so."""
        self.tab.evaluate(WAIT.format(condition=condition))

    def step(self, armed: str, act: Callable[[], None]) -> float:
        """Return the milliseconds from a key or click to what `armed` asks for."""
        self.tab.evaluate(armed)
        act()
        began, ended = self.tab.evaluate("() => bench.promise")
        return float(ended - began)

    def memory(self, browser: Any) -> Memory:
        """Return what the browser takes now."""
        session = self.context.new_cdp_session(self.tab)
        session.send("Performance.enable")
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        every = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        most = {
            kind: max((peak(one["id"]) for one in every if one["type"] == kind), default=0.0)
            for kind in ("renderer", "GPU")
        }
        return Memory(metrics["JSHeapUsedSize"] / 2**20, most["renderer"], most["GPU"])

    def close(self) -> None:
        """Forget the tab and its cache."""
        self.context.close()


def quoted(name: str) -> str:
    """Return a text as JavaScript writes it."""
    import json

    return json.dumps(name)


def turn_cards(page: Page, names: dict[int, str], first: int, count: int) -> list[float]:
    """Go from card to card in the atlas's order with the key for the next one; return milliseconds."""
    order = list(names)
    at = order.index(first)
    page.tab.goto(f"{page.url}#/c/{first}")
    page.until("() => document.querySelector('.columns canvas') && bench.maps.length > 0")
    page.tab.wait_for_timeout(500)
    took = []
    for latent in order[at + 1 : at + 1 + count]:
        took.append(page.step(ON_CARD.format(name=quoted(names[latent])), lambda: page.tab.keyboard.press("]")))
        page.tab.wait_for_timeout(150)  # a person looks; and the page may get ready for what comes next
    return took


def jump_cards(page: Page, names: dict[int, str], latents: list[int]) -> list[float]:
    """Go from card to card by links, far apart in the atlas; return milliseconds."""
    took = []
    for latent in latents:
        page.tab.evaluate(AIM, latent)
        took.append(
            page.step(
                ON_CARD.format(name=quoted(names[latent])),
                lambda: page.tab.evaluate("() => document.getElementById('jump').click()"),
            )
        )
        page.tab.wait_for_timeout(150)
    return took


def colour_cells(page: Page, names: dict[int, str], latents: list[int]) -> list[float]:
    """Colour the view of the cells by one concept after the other, whose numbers are typed; return milliseconds."""
    page.tab.get_by_label("Colour by").select_option("c")
    field = page.tab.get_by_label("Concept: number or name")
    took = []
    for latent in latents:
        field.fill(f"#{latent}")
        took.append(page.step(ON_CELLS.format(name=quoted(names[latent])), lambda: field.press("Enter")))
        page.tab.wait_for_timeout(150)
    return took


def peak(pid: int) -> float:
    """Return the most memory that a process has held, MiB (``VmHWM`` of Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def browser() -> Iterator[Any]:
    """Start Debian's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=str(CHROMIUM), args=list(SWITCHES))
        page = opened.new_page()  # a person's browser is open already, and has drawn something
        page.evaluate(WAKE)
        page.close()
        yield opened
        opened.close()


def quantile(took: list[float], share: float) -> float:
    """Return a quantile; of one figure that figure."""
    ordered = sorted(took)
    if len(ordered) < 2:
        return ordered[0]
    cuts = statistics.quantiles(ordered, n=100, method="inclusive")
    return cuts[round(share * 100) - 1]
