// Whether lists show residual latents too. It stands in the link, as other filters do: `residual=1`.

import { change, parse } from "./route";

class Shown {
  residual = $state(parse(location.hash).query.has("residual"));

  constructor() {
    addEventListener("hashchange", () => (this.residual = parse(location.hash).query.has("residual")));
  }

  set = (residual: boolean): void => change({ residual }, true);
}

export const shown = new Shown();
