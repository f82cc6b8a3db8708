// Starts the page: theme, lazy drawing, deep links, print.

const redraws = new Set();
const waiting = new Map();
const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      waiting.get(entry.target)?.();
      waiting.delete(entry.target);
    }
  },
  { rootMargin: "500px 0px" },
);

function onVisible(node, draw) {
  waiting.set(node, draw);
  watcher.observe(node);
}

function redrawAll() {
  backgrounds.clear();
  for (const draw of redraws) draw();
}

function theme() {
  const button = $("theme");
  const store = (value) => {
    try {
      return value ? localStorage.setItem("cellglass-theme", value) : localStorage.getItem("cellglass-theme");
    } catch {
      return null; // a browser may keep nothing for files; the page then follows the system
    }
  };
  const say = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Use ${isDark() ? "light" : "dark"} colours`);
    button.setAttribute("aria-pressed", String(isDark()));
  };
  const kept = store();
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    store(next);
    say();
    redrawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    say();
    redrawAll();
  });
  say();
}

// A link to a card draws it first, so that it has its height, and then goes there; search must not hide it.
function follow(items) {
  const match = /^#concept-(\d+)$/.exec(location.hash);
  if (!match) return;
  const item = items.find((one) => one.concept.latent === Number(match[1]));
  if (!item) return;
  if (item.hidden) {
    $("search").value = "";
    if ($("again")) $("again").checked = false;
    $("search").dispatchEvent(new Event("input"));
  }
  item.render();
  const go = () => item.node.scrollIntoView({ block: "start", behavior: "instant" });
  const focus = () => item.node.querySelector("h3").focus({ preventScroll: true });
  go();
  focus();
  requestAnimationFrame(() => requestAnimationFrame(go));
  // While the page loads, the browser goes to the link's target too and takes the focus with it.
  setTimeout(() => {
    go();
    if (!item.node.contains(document.activeElement)) focus();
  }, 250);
}

function printing(items) {
  addEventListener("beforeprint", () => {
    state.printing = true;
    for (const item of items) if (!item.hidden) item.render();
    redrawAll();
  });
  addEventListener("afterprint", () => {
    state.printing = false;
    redrawAll();
  });
}

function resizing() {
  let wide = innerWidth;
  let timer = 0;
  addEventListener("resize", () => {
    if (innerWidth === wide) return;
    wide = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(redrawAll, 150);
  });
}

function foot() {
  const a = D.atlas;
  const versions = Object.entries(a.versions).map(([name, version]) => `${name} ${version}`);
  put($("foot"), [
    el("p", {}, `cellglass ${a.version || ""}, atlas schema ${a.schema}. ${versions.join(", ")}${versions.length ? "." : ""}`),
    el("p", {}, "This page is one file. It loads nothing and sends nothing."),
  ]);
}

theme();
head();
overview();
cellsSection();
const shownConcepts = conceptsSection();
foot();
printing(shownConcepts);
resizing();
addEventListener("hashchange", () => follow(shownConcepts));
follow(shownConcepts);
