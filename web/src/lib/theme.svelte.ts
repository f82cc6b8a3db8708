// Dark or light: the system's choice until the reader makes one, which the browser keeps.

const KEY = "cellglass-theme";

export function stored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // a browser may keep nothing; the page then forgets
  }
}

export function store(key: string, value: string): boolean {
  try {
    localStorage.setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

const system = matchMedia("(prefers-color-scheme: dark)");
const chosen = stored(KEY);

class Theme {
  dark = $state(chosen ? chosen === "dark" : system.matches);

  constructor() {
    this.apply(chosen !== null);
    system.addEventListener("change", () => {
      if (stored(KEY) === null) this.dark = system.matches;
    });
  }

  private apply(set: boolean): void {
    if (set) document.documentElement.dataset.theme = this.dark ? "dark" : "light";
  }

  toggle(): void {
    this.dark = !this.dark;
    this.apply(true);
    store(KEY, this.dark ? "dark" : "light");
  }
}

export const theme = new Theme();
