// Notes without a server: the same revisions, with the same ids, as `cellglass.explorer.notes.rules` makes them, so that a
// file sent back from an export merges without a seam.

import { sha256 } from "./sha256";
import type { Content, NoteState, Revision } from "./types";

export const EMPTY: Content = { label: "", text: "", confidence: null, tags: [], status: "open" };

export function revisionId(r: Revision): string {
  const told = { by: r.by, confidence: r.confidence, label: r.label, latent: r.latent, status: r.status, tags: r.tags, text: r.text, when: r.when, who: r.who };
  return sha256(JSON.stringify(told)).slice(0, 32);
}

/** The present moment as the notes keep it; later than `after`, should the clock have been set back. */
export function now(after = ""): string {
  const text = new Date().toISOString().replace("Z", "000+00:00");
  if (text > after) return text;
  const micro = Number(after.slice(20, 26)) + 1;
  const whole = new Date(Date.parse(`${after.slice(0, 19)}Z`) + (micro > 999_999 ? 1000 : 0)).toISOString().slice(0, 19);
  return `${whole}.${String(micro % 1_000_000).padStart(6, "0")}+00:00`;
}

export const tidy = (text: string): string => text.normalize("NFC").replaceAll("\r\n", "\n").trim();

/** What a field may hold at most, in characters; a note that broke this would be refused when it is merged. */
export const LENGTHS = { label: 200, text: 10_000, who: 80, tag: 50, tags: 20 };

function checkText(text: string, name: string, most: number): string {
  const clean = tidy(text);
  if (/[\p{Cc}\p{Cs}]/u.test(clean.replace(/[\n\t]/g, ""))) throw new Error(`${name}: it holds characters that are no text. Type it again.`);
  const long = [...clean].length;
  if (long > most) throw new Error(`${name}: it has ${long.toLocaleString("en")} characters, and at most ${most.toLocaleString("en")} are allowed. Make it shorter.`);
  return clean;
}

export function checkWho(who: string): string {
  const clean = checkText(who, "Your name", LENGTHS.who).replaceAll("\n", " ");
  if (!clean) throw new Error("Write your name first, so that others know whose note it is.");
  return clean;
}

/** The content as it is kept: composed, trimmed, every tag once; or an error in plain words. */
export function checkContent(content: Content): Content {
  const tags = [...new Set(content.tags.map((tag) => checkText(tag, "Tags", LENGTHS.tag)).filter(Boolean))];
  if (tags.length > LENGTHS.tags) throw new Error(`Tags: there are ${tags.length}, and at most ${LENGTHS.tags} are allowed. Take some away.`);
  return {
    label: checkText(content.label, "Label", LENGTHS.label).replaceAll("\n", " "),
    text: checkText(content.text, "Text", LENGTHS.text),
    confidence: content.confidence,
    tags,
    status: content.status,
  };
}

export const sameContent = (a: Content, b: Content): boolean =>
  a.label === b.label && a.text === b.text && a.confidence === b.confidence && a.status === b.status && a.tags.length === b.tags.length && a.tags.every((tag, i) => tag === b.tags[i]);

/** The last revision that no other follows, with the others of which that is true. */
function head(chain: Revision[]): Revision | null {
  const followed = new Set(chain.flatMap((r) => [r.base, ...(r.also ?? [])]));
  const ends = chain.filter((r) => !followed.has(r.id));
  const sorted = (ends.length ? ends : chain).toSorted((a, b) => (a.when + a.id < b.when + b.id ? -1 : 1));
  const last = sorted.at(-1);
  return last ? { ...last, others: sorted.slice(0, -1) } : null;
}

export function stateOf(latent: number, revisions: Revision[]): NoteState {
  const mine = revisions.filter((r) => r.latent === latent);
  return { latent, person: head(mine.filter((r) => r.by === "person")), machine: head(mine.filter((r) => r.by === "machine")) };
}

export function append(revisions: Revision[], latent: number, who: string, content: Content, links: Pick<Revision, "restores" | "undoes"> = {}): Revision {
  const present = stateOf(latent, revisions).person;
  const made: Revision = {
    id: "", latent, by: "person", who: tidy(who), when: now(present?.when), ...content,
    base: present?.id ?? null, also: (present?.others ?? []).map((r) => r.id), restores: links.restores ?? null, undoes: links.undoes ?? null,
  };
  return { ...made, id: revisionId(made) };
}

/** What a revision shows: of an undo, the one that it went back to. */
export function shown(revisions: Revision[], from: Revision | null): Revision | null {
  const seen = new Set<string>();
  let at = from;
  while (at?.undoes) {
    if (!at.restores || seen.has(at.id)) return null;
    seen.add(at.id);
    const next = at.restores;
    at = revisions.find((r) => r.id === next) ?? null;
  }
  return at;
}
