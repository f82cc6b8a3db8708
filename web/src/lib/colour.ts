// Colours: a sequential map that colour-blind readers can follow (the well-known viridis stops), with zero in grey, turned so
// that the strongest value stands out most from the page; and a palette of categories. Light, dark and paper.

const STOPS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"].map(rgb);
/** Six of Okabe and Ito's, then chosen greedily: any two lie at least 0.052 apart in OKLab (0.076 among the first ten), for full
 *  colour vision and as seen with protanopia, deuteranopia and tritanopia (Machado et al. 2009); none sinks into either page. */
export const PALETTE = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#963c2d", "#a5c396", "#785a78", "#9678e1",
  "#b44b0f", "#4b4bb4", "#b4a569", "#5a785a", "#8796ff", "#966987", "#e1a5c3", "#e17800", "#7869d2", "#87c3e1",
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

/** The same for heat maps: it begins at the grey of zero, so that little does not look like much. */
export function soft(t: number, dark: boolean): Rgb {
  const [grey, first, part] = [zero(dark), ramp(0.25, dark), Math.min(1, Math.max(0, t) / 0.25)];
  return t >= 0.25 ? ramp(t, dark) : (first.map((c, i) => Math.round(grey[i] + part * (c - grey[i]))) as Rgb);
}

export const css = ([r, g, b]: Rgb): string => `rgb(${r},${g},${b})`;
export const hex = (colour: Rgb): string => `#${colour.map((c) => c.toString(16).padStart(2, "0")).join("")}`;
export const category = (index: number): string => PALETTE[index % PALETTE.length];
export const zero = (dark: boolean): Rgb => rgb(dark ? "#39424d" : "#d9d8d6");
export const paper = (dark: boolean): string => (dark ? "#0f1317" : "#faf9f6");
export const ink = (dark: boolean): string => (dark ? "#e9ebee" : "#1b1f24");
