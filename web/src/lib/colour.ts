// Colours: a sequential map that colour-blind readers can follow (the well-known viridis stops), with zero in grey, turned so
// that the strongest value stands out most from the page; and a palette of categories. Light, dark and paper.

const STOPS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"].map(rgb);
export const PALETTE = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7b5cc0", "#c0392b", "#6b8e23",
  "#17a2a2", "#b8336a", "#4a6fa5", "#a0712c", "#3d8b5f", "#9a6fb0", "#d98880", "#5d8aa8", "#8a9a5b", "#b57f50",
];

export type Rgb = [number, number, number];

export function rgb(hex: string): Rgb {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as Rgb;
}

/** t in 0..1; the palest end of the map is left out on paper, and the darkest on a dark page. */
export function ramp(t: number, dark: boolean): Rgb {
  const at = Math.max(0, Math.min(1, dark ? 0.22 + 0.78 * t : 0.88 * (1 - t))) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(at));
  return STOPS[low].map((c, i) => Math.round(c + (at - low) * (STOPS[low + 1][i] - c))) as Rgb;
}

export const css = ([r, g, b]: Rgb): string => `rgb(${r},${g},${b})`;
export const hex = (colour: Rgb): string => `#${colour.map((c) => c.toString(16).padStart(2, "0")).join("")}`;
export const category = (index: number): string => PALETTE[index % PALETTE.length];
export const zero = (dark: boolean): Rgb => rgb(dark ? "#39424d" : "#d9d8d6");
export const paper = (dark: boolean): string => (dark ? "#0f1317" : "#faf9f6");
export const ink = (dark: boolean): string => (dark ? "#e9ebee" : "#1b1f24");
