// The layout of the cells, made once for all pictures.

import { xy } from "./data";
import { Layout } from "./layout";

let made: Promise<Layout> | null = null;

export function layoutOf(): Promise<Layout> {
  made ??= xy().then((raw) => new Layout(raw));
  made.catch(() => (made = null));
  return made;
}
