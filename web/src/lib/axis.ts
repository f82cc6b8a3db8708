// Places on a common axis, in percent, so that rows of marks fit any width.

import { scaleLinear } from "d3-scale";

export type Domain = [number, number];

export function at(value: number, [low, high]: Domain): string {
  return `${(100 * Math.min(1, Math.max(0, (value - low) / (high - low || 1)))).toFixed(2)}%`;
}

export const width = (from: number, to: number, domain: Domain): string => `calc(${at(to, domain)} - ${at(from, domain)})`;
export const ticks = (domain: Domain, n = 4): number[] => scaleLinear().domain(domain).ticks(n);
