// In which order names stand: by number where they are numbers, “2” before “10” and “cluster 2” before “cluster 10”; else as the
// atlas has them, whose order may mean something.

const collator = new Intl.Collator("en", { numeric: true });
const stem = (name: string): string => name.replace(/\d+(\.\d+)?/, "#");

/** Names of which none has a meaning in its place, such as those of labels. */
export const byName = (a: string, b: string): number => collator.compare(a, b);

/** Whether names differ by a number alone. */
export const numbered = (names: string[]): boolean => names.length > 1 && names.every((name) => /\d/.test(name) && stem(name) === stem(names[0]));

/** Places of names in the order in which they are shown. */
export function shownOrder(names: string[]): number[] {
  const places = names.map((_, i) => i);
  return numbered(names) ? places.sort((a, b) => byName(names[a], names[b])) : places;
}
