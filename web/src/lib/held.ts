// What a report holds. A report is this page and what it reads in one HTML file: each file of the tree is a line
// "path base64" of one element, gzipped. The live page and an export have no such element.

const element = document.getElementById("files");
const held = element && new Map(element.textContent!.trim().split("\n").map((line) => line.split(" ", 2) as [string, string]));

export const isReport = held !== null;

/** Whether this page can read a file: to stay small, the report of a large atlas leaves some out. */
export const holds = (path: string): boolean => held?.has(path) ?? true;

export function opened(path: string): Response {
  const packed = Uint8Array.from(atob(held!.get(path)!), (sign) => sign.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
}
