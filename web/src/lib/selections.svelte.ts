// Selections that are kept: on the live server for everybody, or for an export in this browser, with a file to send back. The
// same revisions as Python's `selections/store.py`: the first of a selection holds its cells, others its name or that it is gone.

import { atlas } from "./atlas.svelte";
import * as api from "./api";
import { fromText, pack, unpack } from "./bits";
import { save } from "./csv";
import * as data from "./data";
import { notes } from "./notes.svelte";
import { checkWho, now, tidy } from "./revisions";
import { maskOf, positions } from "./sets";
import type { Mask } from "./sets";
import { store, stored } from "./theme.svelte";

export interface SelectionState {
  selection: string;
  name: string;
  who: string;
  when: string;
  how: string;
  n: number;
  head: string;
  deleted: boolean;
  undoable: boolean;
  changed_by: string;
  changed: string;
}

interface Kept {
  id: string;
  selection: string;
  who: string;
  when: string;
  name: string;
  how: string;
  deleted: boolean;
  base: string | null;
  n: number;
  bits: string | null;
}

const NAME = 100;
const fresh = (): string => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function stateOf(chain: Kept[]): SelectionState {
  const [made, last] = [chain[0], chain.at(-1)!];
  return { selection: made.selection, name: last.name, who: made.who, when: made.when, how: made.how, n: made.n, head: last.id, deleted: last.deleted, undoable: last.base !== null, changed_by: last.who, changed: last.when };
}

function checkName(name: string): string {
  const clean = tidy(name).replaceAll("\n", " ");
  if (!clean) throw new Error("Give the selection a name first.");
  if ([...clean].length > NAME) throw new Error(`The name has more than ${NAME} characters. Make it shorter.`);
  return clean;
}

class Selections {
  list = $state.raw<SelectionState[]>([]);
  error = $state("");
  keeps = $state(true);
  strangers = $state(0);
  private cells = "";
  private n = 0;
  private own: Kept[] = [];
  private masks = new Map<string, Promise<{ mask: Mask; lost: number }>>();
  private loaded: Promise<void> | null = null;

  /** `anew`: on the live page others may have saved some since. */
  load(anew = false): Promise<void> {
    if (anew && this.live) this.loaded = null;
    this.loaded ??= this.read().catch((failure: unknown) => {
      this.error = (failure as Error).message;
      this.loaded = null;
    });
    return this.loaded;
  }

  private get key(): string {
    return `cellglass-selections ${this.cells}`;
  }
  private get live(): boolean {
    return atlas.manifest!.live;
  }

  private async read(): Promise<void> {
    this.error = "";
    if (this.live) {
      const told = await api.selections();
      [this.cells, this.n, this.list, this.strangers] = [told.cells, told.n, told.selections, told.strangers];
      return;
    }
    ({ cells: this.cells, n: this.n } = await data.cellsId());
    this.keeps = store(`${this.key} test`, "1");
    this.reread();
    addEventListener("storage", (event) => { if (event.key === this.key) this.reread(); });
  }

  /** Take in what this browser holds, which another tab may have written. */
  private reread(): void {
    let held: unknown = [];
    try {
      held = JSON.parse(stored(this.key) ?? "[]");
    } catch {
      // then it holds nothing that can be read
    }
    const seen = new Set(this.own.map((one) => one.id));
    this.own = [...this.own, ...(Array.isArray(held) ? (held as Kept[]) : []).filter((one) => !seen.has(one.id))];
    this.tell();
  }

  private chains(): Map<string, Kept[]> {
    const chains = new Map<string, Kept[]>();
    for (const one of this.own.toSorted((a, b) => (a.when < b.when ? -1 : 1))) chains.set(one.selection, [...(chains.get(one.selection) ?? []), one]);
    return chains;
  }
  private tell(): void {
    this.list = [...this.chains().values()].map(stateOf).filter((one) => !one.deleted);
  }

  private append(made: Kept): SelectionState {
    this.own = [...this.own, made];
    this.keeps = store(this.key, JSON.stringify(this.own));
    this.tell();
    return stateOf(this.chains().get(made.selection)!);
  }

  private took(state: SelectionState): SelectionState {
    const rest = this.list.filter((one) => one.selection !== state.selection);
    this.list = state.deleted ? rest : [...rest, state].sort((a, b) => (a.when < b.when ? -1 : 1));
    return state;
  }

  private checkFree(name: string, but = ""): void {
    if (this.list.some((one) => one.name === name && one.selection !== but)) throw new Error(`There is a selection called “${name}” already. Choose another name.`);
  }

  async add(name: string, how: string, mask: Mask): Promise<SelectionState> {
    await this.load();
    const [clean, who, drawn] = [checkName(name), checkWho(notes.who), await data.drawnCells()];
    this.checkFree(clean);
    const places = positions(mask);
    if (!places.length) throw new Error("The selection has no cells. Select some first.");
    const bits = await pack(drawn ? places.map((place) => drawn[place]) : places, this.n);
    const told = { selection: fresh(), name: clean, who, how: [...how].slice(0, 400).join("") };
    if (this.live) return this.took(await api.addSelection({ ...told, bits, cells: this.cells }));
    return this.append({ ...told, id: fresh(), when: now(), deleted: false, base: null, n: places.length, bits });
  }

  async rename(state: SelectionState, name: string): Promise<SelectionState> {
    const clean = checkName(name);
    this.checkFree(clean, state.selection);
    return this.change(state, { name: clean });
  }
  remove = (state: SelectionState): Promise<SelectionState> => this.change(state, { deleted: true });

  private async change(state: SelectionState, told: { name?: string; deleted?: boolean }): Promise<SelectionState> {
    const who = checkWho(notes.who);
    if (this.live) return this.meanwhile(() => api.changeSelection({ selection: state.selection, base: state.head, who, ...told }));
    const last = this.standing(state);
    return this.append({ ...last, ...told, who, id: fresh(), when: now(last.when), base: last.id, bits: null });
  }

  async undo(state: SelectionState): Promise<SelectionState> {
    const who = checkWho(notes.who);
    if (this.live) return this.meanwhile(() => api.undoSelection({ selection: state.selection, base: state.head, who }));
    const last = this.standing(state);
    const before = this.own.find((one) => one.id === last.base);
    if (!before) throw new Error("There is nothing to undo.");
    return this.append({ ...last, name: before.name, deleted: before.deleted, who, id: fresh(), when: now(last.when), base: last.id, bits: null });
  }

  private standing(state: SelectionState): Kept {
    this.reread();
    const last = this.chains().get(state.selection)?.at(-1);
    if (!last || last.id !== state.head) throw new Error("The selection was changed in another tab meanwhile. Nothing was changed here.");
    return last;
  }

  private async meanwhile(ask: () => Promise<SelectionState>): Promise<SelectionState> {
    try {
      return this.took(await ask());
    } catch (failure) {
      if (!(failure instanceof api.Conflict)) throw failure;
      const present = this.took(failure.present as unknown as SelectionState);
      throw new Error(`${present.changed_by} ${present.deleted ? "deleted" : "changed"} this selection meanwhile. Nothing was changed here.`, { cause: failure });
    }
  }

  /** The cells of a selection as they are drawn here, and how many of them are not drawn. */
  cellsOf(selection: string): Promise<{ mask: Mask; lost: number }> {
    const held = this.masks.get(selection);
    if (held) return held;
    const asked = this.unpacked(selection);
    asked.catch(() => this.masks.delete(selection));
    this.masks.set(selection, asked);
    for (const oldest of this.masks.keys()) if (this.masks.size > 8) this.masks.delete(oldest);
    return asked;
  }

  private async unpacked(selection: string): Promise<{ mask: Mask; lost: number }> {
    await this.load();
    const bits = this.own.find((one) => one.selection === selection && one.bits)?.bits;
    if (!this.live && !bits) throw new data.DataError("This browser holds no such selection. It may have been made in another one; ask for its file.");
    const rows = await unpack(bits ? fromText(bits) : await api.selectionBits(selection), this.n);
    const drawn = await data.drawnCells();
    if (!drawn) return { mask: maskOf(rows, this.n), lost: 0 };
    const inside = new Set(rows);
    const mask = Uint8Array.from(drawn, (row) => Number(inside.has(row)));
    return { mask, lost: rows.length - mask.reduce((sum, one) => sum + one, 0) };
  }

  /** How many changes were made in this browser. */
  get mine(): number {
    void this.list;
    return this.own.length;
  }

  /** The file that `cellglass selections --merge` reads, and this page too. */
  download(): void {
    const document = { format: "cellglass.selections", schema: 1, cells: this.cells, n_cells: this.n, revisions: this.own.map((one) => ({ ...one, cells: this.cells })) };
    save("cellglass-selections.json", JSON.stringify(document, null, 1) + "\n", "application/json");
  }

  /** Take in such a file; on the live page each selection in it is written anew under its own id. Returns what was done, in words. */
  async take(text: string): Promise<string> {
    await this.load();
    const file = JSON.parse(text) as { format?: string; cells?: string; revisions?: Kept[] };
    if (file.format !== "cellglass.selections" || !Array.isArray(file.revisions)) throw new Error("This is no file of cellglass selections.");
    if (file.cells !== this.cells) throw new Error("These are selections of other cells than this atlas has. Nothing was added.");
    const chains = new Map<string, Kept[]>();
    for (const one of file.revisions) chains.set(one.selection, [...(chains.get(one.selection) ?? []), one]);
    let added = 0;
    const taken: string[] = [];
    for (const chain of chains.values()) {
      const sorted = chain.toSorted((a, b) => (a.when < b.when ? -1 : 1));
      const [made, last] = [sorted[0], sorted.at(-1)!];
      if (!made.bits || last.deleted || this.list.some((one) => one.selection === made.selection)) continue;
      if (this.list.some((one) => one.name === last.name)) {
        taken.push(`“${last.name}”`);
        continue;
      }
      await unpack(fromText(made.bits), this.n);
      if (this.live) this.took(await api.addSelection({ selection: made.selection, name: last.name, who: made.who, how: made.how, bits: made.bits, cells: this.cells }));
      else for (const one of sorted) this.append({ id: one.id, selection: one.selection, who: one.who, when: one.when, name: one.name, how: one.how, deleted: one.deleted, base: one.base, n: one.n, bits: one.bits });
      added++;
    }
    return `${added} new ${added === 1 ? "selection" : "selections"}.${taken.length ? ` Left out, since their names are taken here: ${taken.join(", ")}. Rename those here first.` : ""}`;
  }
}

export const selections = new Selections();
