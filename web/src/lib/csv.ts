// Tables and pictures as files that the reader keeps.

export type Value = string | number | boolean | null | undefined;

export function csv(header: string[], rows: Value[][]): string {
  const cell = (value: Value): string => {
    const text = value === null || value === undefined ? "" : String(value);
    // A spreadsheet would run what starts so; a quote before it makes it text.
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

export function save(name: string, content: Blob | string, type = "text/csv;charset=utf-8"): void {
  const blob = typeof content === "string" ? new Blob([content], { type }) : content;
  const address = URL.createObjectURL(blob);
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name.replace(/[^\w.+-]+/g, "-");
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
