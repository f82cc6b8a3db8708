// Where the page is: everything that a view shows stands in the hash, so that a link brings it back.
// `#/cells?colour=c:12&size=2` is view "cells" with two settings.

export interface Route {
  view: string;
  id: string;
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view = "", id = ""] = path.split("/");
  let plain = id;
  try {
    plain = decodeURIComponent(id);
  } catch {
    // a broken escape stays as it was written
  }
  return { view, id: plain, query: new URLSearchParams(query) };
}

export function link(view: string, settings: Record<string, string | number | boolean | null | undefined> = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(settings)) if (value !== null && value !== undefined && value !== "" && value !== false) query.set(key, value === true ? "1" : String(value));
  const text = query.toString().replace(/%3A/g, ":").replace(/%2C/g, ",");
  return `#/${view}${text ? `?${text}` : ""}`;
}

export const conceptLink = (latent: number): string => `#/c/${latent}`;

/** Change settings of the present view. `replace` keeps the back button for steps that a reader would want to undo. */
export function change(settings: Record<string, string | number | boolean | null | undefined>, replace = false): void {
  const here = parse(location.hash);
  const all: Record<string, string | number | boolean | null | undefined> = Object.fromEntries(here.query);
  Object.assign(all, settings);
  const next = link(here.id ? `${here.view}/${encodeURIComponent(here.id)}` : here.view, all);
  if (next === location.hash) return;
  if (replace) {
    history.replaceState(history.state, "", next);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = next;
}
