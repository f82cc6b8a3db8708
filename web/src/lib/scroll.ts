// Where each page of the history was scrolled to, so that the back button brings the reader back to the same place. A step of
// the history is known by a number in its state, which `change` keeps.

const tops = new Map<number, number>();
let step = 0;
let moving = false;

function stepOf(): number | null {
  const state = history.state as { step?: number } | null;
  return typeof state?.step === "number" ? state.step : null;
}

function name(): void {
  step = Date.now() + Math.random();
  history.replaceState({ step }, "");
}

export function startScroll(): void {
  history.scrollRestoration = "manual";
  const known = stepOf();
  if (known === null) name();
  else step = known;
  addEventListener("scroll", () => { if (!moving) tops.set(step, scrollY); }, { passive: true });
}

/** To be called when the address has changed: to the top for a new page; for one that was left, to where it was, once it is drawn. */
export function arrive(changed: boolean): void {
  const known = stepOf();
  if (known === null) name();
  else step = known;
  if (!changed) return;
  const wanted = known === null ? 0 : (tops.get(step) ?? 0);
  const until = performance.now() + 1500;
  moving = true;
  const settle = (): void => {
    scrollTo({ top: wanted, behavior: "instant" });
    moving = Math.abs(scrollY - wanted) > 2 && performance.now() < until;
    if (moving) requestAnimationFrame(settle);
  };
  settle();
}
