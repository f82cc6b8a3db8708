// Notes of people (and, apart from them, of machines): on the live server, or kept in this browser for an export.

import * as api from "./api";
import { exportedNotes } from "./data";
import { save } from "./csv";
import { EMPTY, append, shown, stateOf, tidy } from "./revisions";
import { store, stored } from "./theme.svelte";
import type { Content, Manifest, NoteState, Revision } from "./types";

const WHO = "cellglass-who";

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

  get mine(): number {
    return this.own.length;
  }

  async load(manifest: Manifest): Promise<void> {
    this.live = manifest.live;
    this.key = `cellglass-notes ${location.pathname} ${manifest.title} ${manifest.atlas.created ?? ""}`;
    this.error = "";
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
    } catch {
      this.given = []; // an export without notes
    }
    try {
      this.own = JSON.parse(stored(this.key) ?? "[]") as Revision[];
    } catch {
      this.own = [];
    }
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
    const clean = { ...content, label: tidy(content.label).replaceAll("\n", " "), text: tidy(content.text), tags: [...new Set(content.tags.map(tidy).filter(Boolean))] };
    if (this.live) this.states[latent] = await api.write(latent, tidy(this.who), base, clean);
    else this.add(append(this.all(), latent, this.who, clean));
  }

  async undo(latent: number): Promise<void> {
    const present = this.states[latent]?.person;
    if (!present) return;
    if (this.live) {
      this.states[latent] = await api.undo(latent, tidy(this.who), present.id);
      return;
    }
    const all = this.all();
    const stands = shown(all, present);
    if (!stands) throw new Error("There is nothing to undo.");
    const before = stands.base ? shown(all, all.find((r) => r.id === stands.base) ?? null) : null;
    const { label, text, confidence, tags, status } = before ?? EMPTY;
    this.add(append(all, latent, this.who, { label, text, confidence, tags, status }, { restores: before?.id ?? null, undoes: present.id }));
  }

  private add(made: Revision): void {
    this.own = [...this.own, made];
    this.keeps = store(this.key, JSON.stringify(this.own));
    this.states[made.latent] = stateOf(made.latent, this.all());
  }

  async history(latent: number): Promise<Revision[]> {
    const all = this.live ? await api.history(latent) : this.all().filter((r) => r.latent === latent);
    return all.toSorted((a, b) => (a.when < b.when ? 1 : -1));
  }

  /** The file to send back: what this browser wrote, in the form that `cellglass notes merge` reads. */
  download(): void {
    const document = { format: "cellglass.notes", schema: 1, atlas: this.atlas, revisions: this.own };
    save("cellglass-notes.json", JSON.stringify(document, null, 1) + "\n", "application/json");
  }

  person = (latent: number): Revision | null => {
    const note = this.states[latent]?.person ?? null;
    return note && (note.label || note.text || note.confidence !== null || note.tags.length || note.status !== "open") ? note : null;
  };
}

export const notes = new Notes();
