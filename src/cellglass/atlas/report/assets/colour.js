// Colours: a sequential map that colour-blind readers can follow (the well-known viridis stops), with zero in grey, turned so
// that the strongest activation stands out most from the page; and a palette of categories.

const STOPS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"].map((hex) =>
  [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)),
);
const PALETTE = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7b5cc0", "#c0392b", "#6b8e23",
  "#17a2a2", "#b8336a", "#4a6fa5", "#a0712c", "#3d8b5f", "#9a6fb0", "#d98880", "#5d8aa8", "#8a9a5b", "#b57f50",
];

function isDark() {
  if (state.printing) return false;
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// t in 0..1; the palest end of the map is left out on paper, and the darkest on a dark page.
function ramp(t) {
  const at = (isDark() ? 0.22 + 0.78 * t : 0.88 * (1 - t)) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(at));
  const mixed = STOPS[low].map((c, i) => Math.round(c + (at - low) * (STOPS[low + 1][i] - c)));
  return `rgb(${mixed.join(",")})`;
}

const category = (index) => PALETTE[index % PALETTE.length];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
