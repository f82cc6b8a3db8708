// Numbers and dates as the page writes them.

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

export const known = <T>(value: T | null | undefined): value is T => value !== null && value !== undefined && !(typeof value === "number" && Number.isNaN(value));

/** 0.0000012 is read more easily as 1.2 × 10⁻⁶. */
function power(value: number): string {
  const [digits, exponent] = value.toExponential(1).split("e");
  const raised = [...String(Number(exponent))].map((sign) => (sign === "-" ? "⁻" : RAISED[Number(sign)])).join("");
  return `${digits.replace("-", "−")} × 10${raised}`;
}

export function number(value: number | null | undefined, digits = 2): string {
  if (!known(value)) return "–";
  if (value !== 0 && Math.abs(value) < 10 ** -digits) return power(value);
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en").replace("-", "−");
  return value.toFixed(digits).replace("-", "−");
}

export function percent(value: number | null | undefined): string {
  if (!known(value)) return "–";
  const shown = 100 * value;
  if (value < 0) return `−${percent(-value)}`;
  return `${value > 0 && value < 0.1 ? shown.toFixed(shown < 0.1 ? 2 : 1) : Math.round(shown)} %`;
}

/** A share with its sign, as a reader says it: 4.6 %, −5.0 %. */
export function share(value: number | null | undefined): string {
  if (!known(value)) return "–";
  const shown = 100 * Math.abs(value);
  return `${value < 0 ? "−" : ""}${shown !== 0 && shown < 0.1 ? shown.toFixed(2) : shown.toFixed(1)} %`;
}

export const count = (value: number | null | undefined): string => (known(value) ? value.toLocaleString("en") : "–");

export function day(text: string | null | undefined): string {
  const when = text ? new Date(text) : null;
  if (!when || Number.isNaN(when.getTime())) return "–";
  return when.toLocaleDateString("en", { year: "numeric", month: "long", day: "numeric", timeZone: "UTC" });
}

export function moment(text: string | null | undefined): string {
  const when = text ? new Date(text) : null;
  if (!when || Number.isNaN(when.getTime())) return "–";
  return when.toLocaleString("en", { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
}

/** One line for a value of the manifest that may be text or a small table. */
export function describe(value: unknown): string {
  if (!known(value)) return "";
  if (typeof value !== "object") return String(value);
  const facts = value as Record<string, unknown>;
  const head = String(facts.kind ?? facts.name ?? "");
  const rest = Object.entries(facts)
    .filter(([key, one]) => !["kind", "name", "fingerprint", "coverage"].includes(key) && known(one) && typeof one !== "object" && String(one).length < 40)
    .map(([key, one]) => `${key} ${String(one)}`);
  return head + (rest.length ? `${head ? " (" : ""}${rest.join(", ")}${head ? ")" : ""}` : "");
}
