// What a reader did to a circuit, as it stands in the link: which are shown, pinned, grouped, open, selected.
//
//   #/circuits/NAME?on=f0.77.12&features=40&genes=12&edges=150&each=1&pin=t3,f1.5.8&groups=[["name","t3","t4"]]&answer=1&path=2&heads=1&open=h0.1

import type { Group } from "./circuit";

export interface State {
  on: string;
  features: number | null;
  genes: number | null;
  edges: number | null;
  each: boolean;
  pins: string[];
  /** null: those that the graph came with */
  groups: Group[] | null;
  answer: number;
  /** place in the list of paths, or -1 */
  path: number;
  heads: boolean;
  open: Set<string>;
}

const MOST = 200;
const KEY = /^[faetgh][0-9.]{1,40}$/;

export function read(query: URLSearchParams): State {
  const whole = (name: string): number | null => (/^[0-9]{1,7}$/.test(query.get(name) ?? "") ? Number(query.get(name)) : null);
  const keys = (name: string): string[] => [...new Set((query.get(name) ?? "").split(",").filter((key) => KEY.test(key)))].slice(0, MOST);
  return {
    on: KEY.test(query.get("on") ?? "") ? query.get("on")! : "",
    features: whole("features"),
    genes: whole("genes"),
    edges: whole("edges"),
    each: query.has("each"),
    pins: keys("pin"),
    groups: query.has("groups") ? readGroups(query.get("groups")) : null,
    answer: whole("answer") ?? 0,
    path: whole("path") ?? -1,
    heads: query.has("heads"),
    open: new Set(keys("open")),
  };
}

/** Groups from a link, which may be damaged: whatever is no list of a name and of keys is left out. */
function readGroups(text: string | null): Group[] {
  let held: unknown;
  try {
    held = JSON.parse(text ?? "[]");
  } catch {
    return [];
  }
  if (!Array.isArray(held)) return [];
  return held.slice(0, MOST).flatMap((one: unknown): Group[] => {
    if (!Array.isArray(one) || !one.every((part) => typeof part === "string")) return [];
    const [name, ...keys] = one as string[];
    const known = keys.filter((key) => KEY.test(key)).slice(0, MOST);
    return name && known.length ? [{ name: name.slice(0, 80), keys: known }] : [];
  });
}

/** `given`: whether the graph came with groups, so that none has to be said. */
export const packGroups = (groups: Group[], given: boolean): string | null => (groups.length || given ? JSON.stringify(groups.map(({ name, keys }) => [name, ...keys])) : null);
export const packKeys = (keys: Iterable<string>): string | null => [...keys].join(",") || null;
