// Notes of people (and, apart from them, of machines): on the live server, or kept in this browser for an export.
// What is typed and not yet kept is held for the tab, so that no way of leaving a card loses it.

import * as api from "./api";
import { exportedNotes } from "./data";
import { save } from "./csv";
import { EMPTY, append, checkContent, checkWho, sameContent, shown, stateOf } from "./revisions";
import { store, stored } from "./theme.svelte";
import type { Content, Manifest, NoteState, Revision } from "./types";

const WHO = "cellglass-who";

/** What somebody is typing: its fields, the note that it began with, and the id of that note. */
export interface Draft {
  typed: Content;
  tagText: string;
  start: Content;
  base: string | null;
}

class Notes {
  states = $state<Record<number, NoteState>>({});
  who = $state(stored(WHO) ?? "");
  live = $state(true);
  error = $state("");
  /** whether this browser keeps what is written */
  keeps = $state(true);
  private given: Revision[] = [];
  private own = $state.raw<Revision[]>([]);
  private key = "";
  private atlas: string | null = null;
  private drafts: Record<number, Draft> = {};
  private writes = 0;

  /** How many changes were made in this browser. */
  get mine(): number {
    return this.own.length;
  }

  async load(manifest: Manifest): Promise<void> {
    this.live = manifest.live;
    this.key = `cellglass-notes ${location.pathname} ${manifest.title} ${manifest.atlas.created ?? ""}`;
    this.error = "";
    this.drafts = this.heldDrafts();
    try {
      if (this.live) for (const state of await api.notes()) this.states[state.latent] = state;
      else await this.local();
    } catch (error) {
      this.error = (error as Error).message;
    }
  }

  private async local(): Promise<void> {
    try {
      const file = await exportedNotes();
      this.given = file.revisions ?? [];
      this.atlas = file.atlas ?? null;
    } catch (error) {
      this.error = (error as Error).message; // every export has the file, if only with no note in it
    }
    this.keeps = store(`${this.key} test`, "1");
    this.reread();
    addEventListener("storage", (event) => { if (event.key === this.key) this.reread(); });
  }

  /** Take in what this browser holds, which another tab may have written. */
  private reread(): void {
    let kept: unknown;
    try {
      kept = JSON.parse(stored(this.key) ?? "[]");
    } catch {
      kept = [];
    }
    const seen = new Set(this.own.map((r) => r.id));
    this.own = [...this.own, ...(Array.isArray(kept) ? (kept as Revision[]) : []).filter((r) => !seen.has(r.id))];
    for (const latent of new Set(this.all().map((r) => r.latent))) this.states[latent] = stateOf(latent, this.all());
  }

  private all(): Revision[] {
    const seen = new Set(this.given.map((r) => r.id));
    return [...this.given, ...this.own.filter((r) => !seen.has(r.id))];
  }

  remember(who: string): void {
    this.who = who;
    store(WHO, who);
  }

  async write(latent: number, base: string | null, content: Content): Promise<void> {
    const [who, clean] = [checkWho(this.who), checkContent(content)];
    this.writes++;
    if (this.live) {
      this.states[latent] = await api.write(latent, who, base, clean);
      return;
    }
    const present = this.standing(latent, base);
    if (present && !present.others?.length && present.who === who && sameContent(present, clean)) return; // it is there already
    this.add(append(this.all(), latent, who, clean));
  }

  async undo(latent: number, base: string): Promise<void> {
    const who = checkWho(this.who);
    this.writes++;
    if (this.live) {
      this.states[latent] = await api.undo(latent, who, base);
      return;
    }
    const present = this.standing(latent, base);
    const all = this.all();
    const stands = shown(all, present);
    if (!stands) throw new Error("There is nothing to undo.");
    const before = stands.base ? shown(all, all.find((r) => r.id === stands.base) ?? null) : null;
    const { label, text, confidence, tags, status } = before ?? EMPTY;
    this.add(append(all, latent, who, { label, text, confidence, tags, status }, { restores: before?.id ?? null, undoes: present!.id }));
  }

  /** What stands now, if it is still what the writer saw: another tab may have written since. */
  private standing(latent: number, base: string | null): Revision | null {
    this.reread();
    const state = stateOf(latent, this.all());
    if ((state.person?.id ?? null) !== base) throw new api.Conflict(state);
    return state.person;
  }

  private add(made: Revision): void {
    this.own = [...this.own, made];
    this.keeps = store(this.key, JSON.stringify(this.own));
    this.states[made.latent] = stateOf(made.latent, this.all());
  }

  /** All revisions about a concept, the newest first. */
  async history(latent: number): Promise<Revision[]> {
    const writes = this.writes;
    const all = this.live ? await api.history(latent) : this.all().filter((r) => r.latent === latent);
    if (all.length && writes === this.writes) this.states[latent] = stateOf(latent, all); // others may have written since
    return all.toSorted((a, b) => (a.when + a.id < b.when + b.id ? 1 : -1));
  }

  /** The file to send back: what this browser wrote, in the form that `cellglass notes merge` reads. */
  download(): void {
    const document = { format: "cellglass.notes", schema: 1, atlas: this.atlas, revisions: this.own };
    save("cellglass-notes.json", JSON.stringify(document, null, 1) + "\n", "application/json");
  }

  person = (latent: number): Revision | null => {
    const note = this.states[latent]?.person ?? null;
    return note && !sameContent(note, EMPTY) ? note : null;
  };

  held = (latent: number): Draft | null => this.drafts[latent] ?? null;

  /** Hold what was typed about a concept, or let go of it. */
  hold(latent: number, draft: Draft | null): void {
    if (draft) this.drafts[latent] = draft;
    else if (latent in this.drafts) delete this.drafts[latent];
    else return;
    try {
      sessionStorage.setItem(`${this.key} drafts`, JSON.stringify(this.drafts));
    } catch {
      // then it is held until the page is left
    }
  }

  private heldDrafts(): Record<number, Draft> {
    try {
      return JSON.parse(sessionStorage.getItem(`${this.key} drafts`) ?? "{}") as Record<number, Draft>;
    } catch {
      return {};
    }
  }
}

export const notes = new Notes();
