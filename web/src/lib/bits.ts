// A selection as text: one bit a cell, little end first, compressed (zlib), in base64; as Python's `selections/bits.py` has it.

import { DataError } from "./data";

async function through(bytes: Uint8Array, stream: CompressionStream | DecompressionStream): Promise<Uint8Array> {
  const made = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(stream as unknown as ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>);
  return new Uint8Array(await new Response(made).arrayBuffer());
}

export const toText = (bytes: Uint8Array): string => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
};
export const fromText = (text: string): Uint8Array => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));

/** `rows` are positions among `n` cells. */
export async function pack(rows: ArrayLike<number>, n: number): Promise<string> {
  const bits = new Uint8Array(Math.ceil(n / 8));
  for (let i = 0; i < rows.length; i++) bits[rows[i] >> 3] |= 1 << (rows[i] & 7);
  return toText(await through(bits, new CompressionStream("deflate")));
}

/** Positions, ascending. */
export async function unpack(packed: Uint8Array, n: number): Promise<Uint32Array> {
  const bits = await through(packed, new DecompressionStream("deflate")).catch(() => new Uint8Array());
  if (bits.length !== Math.ceil(n / 8)) throw new DataError("The selection is damaged, or is of other cells.");
  const rows: number[] = [];
  for (let at = 0; at < bits.length; at++) for (let bit = 0; bits[at] >> bit; bit++) if ((bits[at] >> bit) & 1) rows.push(8 * at + bit);
  if (rows.length && rows.at(-1)! >= n) throw new DataError("The selection names cells that are not there.");
  return Uint32Array.from(rows);
}
