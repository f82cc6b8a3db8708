// What only the live server answers. Each path, its question and its answer stand here and nowhere else.
//
//   GET  api/notes                      -> {notes: [state]}                     states of all concepts that have notes
//   GET  api/notes/history?latent=12    -> {revisions: [revision]}              oldest first
//   POST api/notes        {latent, who, base, label, text, confidence, tags, status}  -> state; 409 {present: state}
//   POST api/notes/undo   {latent, who, base}                                         -> state; 409 {present: state}
//   POST api/marks?of=concepts|genes[&a=120][&donors=LABEL]    uint32 cell positions, little endian; with a, so many are the set and
//                                                              the others what it is held against  -> {concepts, genes, donors}
//   GET  api/selections -> {selections, cells, n, strangers};  GET api/selections/bits?selection=ID -> bytes
//   POST api/selections {name, who, how, bits, cells, selection};  api/selections/change {selection, base, who, name, deleted}
//   POST api/selections/undo {selection, base, who}                            -> state; 409 {present: state}
//   GET  api/review                     -> {sessions: [...], kinds: {kind: whether the atlas has it}}
//   POST api/review/start {concept, neuron, random, repeats, labels}  -> {session, key}  the key is of whoever leads it, told once
//   POST api/review/next  {session, rater}                      -> {done, of, code, ended, previous}
//   GET  api/review/given  ?session=&rater=                     -> {given: {rating, label, comment} of the previous item, or null}
//   GET  api/review/item, api/review/activation  ?session=&rater=&code=
//   POST api/review/answer {session, rater, code, rating 1..5, label, comment, seconds}  -> as next
//   POST api/review/end   {session, key};  GET api/review/results?session=
//   GET  api/try?circuit=NAME   what can be tried;  GET api/try/state?id=   how far it is, and what is known by now
//   POST api/try   {circuit, changes, cell, label, n} -> {id}; 409 while another runs;  POST api/try/stop {id}
//   An error has a status and {error: "plain words"}.

import { DataError, unpack } from "./data";
import type { SelectionState } from "./selections.svelte";
import type { TryAsked, TryOffer, TryState } from "./trying";
import type { Content, Marks, NoteState, ReviewItem, ReviewPlace, ReviewSession, Revision, Sparse } from "./types";

/** Somebody else wrote in between. */
export class Conflict extends Error {
  constructor(readonly present: NoteState) {
    super("Somebody else changed this note since you opened it.");
  }
}

async function ask(path: string, body?: unknown): Promise<Response> {
  const binary = body instanceof Uint32Array;
  const question: RequestInit =
    body === undefined
      ? {}
      : { method: "POST", headers: { "content-type": binary ? "application/octet-stream" : "application/json" }, body: binary ? (body as Uint32Array<ArrayBuffer>) : JSON.stringify(body) };
  let answer: Response;
  try {
    answer = await fetch(path, question);
  } catch {
    throw new DataError("The server does not answer. Is `cellglass explore` still running? Nothing was lost: what you typed is still here.");
  }
  if (answer.ok) return answer;
  const told = (await answer.json().catch(() => null)) as { error?: string; present?: NoteState } | null;
  if (answer.status === 409 && told?.present) throw new Conflict(told.present);
  throw new DataError(told?.error ?? `${path}: the server answered with status ${answer.status}.`);
}

const json = async <T>(path: string, body?: unknown): Promise<T> => (await (await ask(path, body)).json()) as T;

export async function notes(): Promise<NoteState[]> {
  const told = (await json<{ notes: NoteState[] | Record<string, NoteState> }>("api/notes")).notes;
  return Array.isArray(told) ? told : Object.values(told);
}
export const history = async (latent: number): Promise<Revision[]> => (await json<{ revisions: Revision[] }>(`api/notes/history?latent=${latent}`)).revisions;
export const write = (latent: number, who: string, base: string | null, content: Content): Promise<NoteState> => json("api/notes", { latent, who, base, ...content });
export const undo = (latent: number, who: string, base: string): Promise<NoteState> => json("api/notes/undo", { latent, who, base });
/** The first `a` of the cells against those that follow; all of them against all others where `a` is null. */
export const marks = (cells: Uint32Array, of: "concepts" | "genes", a: number | null = null, donors: string | null = null): Promise<Marks> =>
  json(`api/marks?${new URLSearchParams({ of, ...(a === null ? {} : { a: String(a) }), ...(donors ? { donors } : {}) })}`, cells);

export const selections = (): Promise<{ selections: SelectionState[]; cells: string; n: number; strangers: number }> => json("api/selections");
export const selectionBits = async (selection: string): Promise<Uint8Array> => new Uint8Array(await (await ask(`api/selections/bits?selection=${selection}`)).arrayBuffer());
export const addSelection = (told: { selection: string; name: string; who: string; how: string; bits: string; cells: string }): Promise<SelectionState> => json("api/selections", told);
export const changeSelection = (told: { selection: string; base: string; who: string; name?: string; deleted?: boolean }): Promise<SelectionState> => json("api/selections/change", told);
export const undoSelection = (told: { selection: string; base: string; who: string }): Promise<SelectionState> => json("api/selections/undo", told);

export const review = (): Promise<{ sessions: ReviewSession[]; kinds: Record<string, boolean> }> => json("api/review");
export const startReview = (drawn: Record<string, number | boolean>): Promise<{ session: string; key: string | null }> => json("api/review/start", drawn);
export const nextItem = (session: string, rater: string): Promise<ReviewPlace> => json("api/review/next", { session, rater });
export const endReview = (session: string, key: string | null): Promise<unknown> => json("api/review/end", key ? { session, key } : { session });

export interface Rated {
  rater: string;
  position: number;
  item: string;
  kind: string;
  number: number;
  repeat: boolean;
  rating: number;
  label: string;
  comment: string;
  seconds: number;
  when: string;
}
/** Weighted kappa of n pairs of ratings, with its 95 % interval, where there are enough; else what it needs. */
export interface Kappa {
  kappa: number | null;
  low: number | null;
  high: number | null;
  n: number;
  needs: string;
}
export interface Difference {
  kind: string;
  against: string;
  difference: number;
  low: number | null;
  high: number | null;
  p: number | null;
  n_items: number;
  n_raters: number;
  method: string;
  /** what its interval needs; empty where there is one */
  needs: string;
}
export interface Results {
  answers: Rated[];
  agreement: {
    within: (Kappa & { rater: string })[];
    between: (Kappa & { raters: [string, string] })[];
    means: Record<string, number>;
    differences: Difference[];
  };
}
export const results = (session: string): Promise<Results> => json(`api/review/results?session=${encodeURIComponent(session)}`);

export interface Answer {
  session: string;
  rater: string;
  code: string;
  rating: number;
  label: string;
  comment: string;
  seconds: number;
}
/** What a rater gave the item before. */
export const givenBefore = async (session: string, rater: string): Promise<Pick<Rated, "rating" | "label" | "comment"> | null> =>
  (await json<{ given: Pick<Rated, "rating" | "label" | "comment"> | null }>(`api/review/given?${new URLSearchParams({ session, rater }).toString()}`)).given;
export const answer = (given: Answer): Promise<ReviewPlace> => json("api/review/answer", given);

const which = (session: string, rater: string, code: string): string => new URLSearchParams({ session, rater, code }).toString();
export const reviewItem = (session: string, rater: string, code: string): Promise<ReviewItem> => json(`api/review/item?${which(session, rater, code)}`);
export async function reviewCells(session: string, rater: string, code: string): Promise<Sparse> {
  const path = `api/review/activation?${which(session, rater, code)}`;
  return unpack(await (await ask(path)).arrayBuffer(), path);
}

export const tryOffer = (circuit: string): Promise<TryOffer> => json(`api/try?circuit=${encodeURIComponent(circuit)}`);
export const beginTry = (asked: TryAsked): Promise<{ id: string }> => json("api/try", asked);
export const tryState = (id: string): Promise<TryState> => json(`api/try/state?id=${encodeURIComponent(id)}`);
export const stopTry = (id: string): Promise<unknown> => json("api/try/stop", { id });
/** Stop it while the page is left, when no answer can be waited for. */
export const leaveTry = (id: string): boolean => navigator.sendBeacon("api/try/stop", JSON.stringify({ id }));
