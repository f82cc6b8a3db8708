// What stands in the link and parts of a page read: all settings, and whether lists show residual latents too (`residual=1`).

import { change, parse } from "./route";

class Shown {
  query = $state.raw(parse(location.hash).query);

  constructor() {
    addEventListener("hashchange", () => (this.query = parse(location.hash).query));
  }

  get residual(): boolean {
    return this.query.has("residual");
  }

  set = (residual: boolean): void => change({ residual }, true);
}

export const shown = new Shown();
