// Panels that would be identical in every row are shown once.

/** Things in their order, those with the same rows together. */
export function distinct<T>(things: T[], rows: (thing: T) => unknown): T[][] {
  const groups = new Map<string, T[]>();
  for (const thing of things) {
    const key = JSON.stringify(rows(thing));
    groups.set(key, [...(groups.get(key) ?? []), thing]);
  }
  return [...groups.values()];
}
