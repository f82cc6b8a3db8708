// The measurements of the atlas, grouped for the pictures of the home page.

import { count, known, number as format } from "./format";
import type { Label, Metric } from "./types";
import { BASES, baseColour, title } from "./words";

export interface DotRow {
  label: string;
  strong?: boolean;
  records: Record<string, { value: number | null; spread: number | null } | undefined>;
}

export const find = (metrics: Metric[], name: string): Metric | undefined => metrics.find((m) => m.metric === name);
export const under = (metrics: Metric[], prefix: string): Metric[] => metrics.filter((m) => m.metric.startsWith(`${prefix}.`));

/** The bases that records are of: the known ones first, in their order. */
function basesOf(rows: Record<string, unknown>[]): string[] {
  const all = new Set(rows.flatMap((row) => Object.keys(row)));
  return [...BASES.filter((basis) => all.has(basis)), ...[...all].filter((basis) => !BASES.includes(basis)).sort()];
}

/** For each label, one row for each value: F1 of the best unit of each basis. The mean stands first. */
export function alignment(metrics: Metric[], labels: Label[]): { name: string; bases: string[]; rows: DotRow[] }[] {
  const found = new Map<string, Map<string, Record<string, Metric>>>();
  for (const record of under(metrics, "alignment")) {
    const rest = record.metric.slice("alignment.".length);
    const column = labels.map((l) => l.name).find((name) => rest.startsWith(`${name}.`)) ?? rest.split(".")[0];
    const cut = rest.lastIndexOf(".");
    if (cut <= column.length) continue;
    const values = found.get(column) ?? new Map<string, Record<string, Metric>>();
    const value = rest.slice(column.length + 1, cut);
    values.set(value, { ...values.get(value), [rest.slice(cut + 1)]: record });
    found.set(column, values);
  }
  return [...found].map(([name, values]) => {
    for (const records of values.values()) if (records.concepts && known(records.concepts.null)) records.null = { ...records.concepts, value: records.concepts.null, spread: null };
    const bases = basesOf([...values.values()]);
    const rows: DotRow[] = [...values]
      .filter(([value]) => value !== "mean")
      .map(([label, records]) => ({ label, records }))
      .sort((a, b) => (b.records.concepts?.value ?? 0) - (a.records.concepts?.value ?? 0));
    const mean = (basis: string): { value: number | null; spread: null } => {
      const all = rows.map((row) => row.records[basis]?.value).filter(known);
      return { value: all.length ? all.reduce((s, v) => s + v, 0) / all.length : null, spread: null };
    };
    const top: DotRow = { label: `mean of ${rows.length}`, strong: true, records: values.get("mean") ?? Object.fromEntries(bases.map((b) => [b, mean(b)])) };
    return { name, bases, rows: [top, ...rows] };
  });
}

export function probes(metrics: Metric[]): { bases: string[]; rows: DotRow[] } {
  const rows = new Map<string, DotRow>();
  for (const record of under(metrics, "probe")) {
    const cut = record.metric.lastIndexOf(".");
    const label = record.metric.slice("probe.".length, cut);
    const row = rows.get(label) ?? { label, records: {} };
    row.records[record.metric.slice(cut + 1)] = record;
    if (known(record.null)) row.records.null = { value: record.null, spread: null };
    rows.set(label, row);
  }
  const all = [...rows.values()];
  return { rows: all, bases: basesOf(all.map((row) => row.records)) };
}

export interface BarRow {
  label: string;
  record: Metric;
  colour?: string;
  /** what stands beside the value */
  more?: string;
}

/** A source may have dots in its name (a file's version), so the test is what the name is split at. */
export function annotations(metrics: Metric[], tests: string[]): BarRow[] {
  const any = tests.map((test) => test.replace(/[^\w]/g, "\\$&")).join("|");
  const form = new RegExp(`^annotation\\.(.+)\\.(${any})((?:\\.\\w+)*)$`);
  return under(metrics, "annotation").flatMap((record) => {
    const parts = form.exec(record.metric);
    if (!parts) return [{ label: record.metric.slice("annotation.".length), record }];
    const rest = parts[3].split(".").filter(Boolean);
    return [{ label: [parts[1], title(parts[2]), ...rest.map(title)].join(", "), record }];
  });
}

/** Which share of each basis comes back in the other half of the cells; `more` says how many these are, of how many. */
export function reproducibility(metrics: Metric[]): (BarRow & { basis: string; number: number | null })[] {
  const rows = under(metrics, "reproducibility").filter(({ metric, value }) => /^reproducibility\.[^.]+$/.test(metric) && known(value));
  const bases = basesOf(rows.map(({ metric }) => ({ [metric.split(".")[1]]: true })));
  return bases.map((basis) => {
    const record = find(rows, `reproducibility.${basis}`)!;
    const number = find(metrics, `reproducibility.${basis}.count`)?.value ?? null;
    const more = known(number) ? `${tenth(number)}${known(record.n) ? ` of ${count(record.n)}` : ""}` : "";
    return { basis, number, label: title(basis), record, colour: baseColour(basis), more };
  });
}
/** A mean number of latents: whole where it is. */
const tenth = (value: number): string => (Number.isInteger(value) ? count(value) : format(value, 1));

export function stability(metrics: Metric[]): BarRow[] {
  return under(metrics, "stability").flatMap((record) => {
    const parts = /^stability\.([^.]+)(\.coactivation)?$/.exec(record.metric);
    return parts ? [{ label: `${title(parts[1])} by ${parts[2] ? "cells" : "direction"}`, record, colour: baseColour(parts[1]) }] : [];
  });
}
