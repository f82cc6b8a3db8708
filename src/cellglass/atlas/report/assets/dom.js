// Making elements. Every string that comes from the data goes through here and becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function put(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "css") for (const [key, set] of Object.entries(value)) node.style.setProperty(key, set);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  return put(node, children);
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return put(node, children);
}

// 0.0000012 is read more easily as 1.2 × 10⁻⁶.
function power(value) {
  const [digits, exponent] = value.toExponential(1).split("e");
  const raised = [...String(Number(exponent))].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(sign)])).join("");
  return `${digits.replace("-", "−")} × 10${raised}`;
}

const $ = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;

function number(value, digits = 2) {
  if (!known(value)) return "–";
  if (value !== 0 && Math.abs(value) < 10 ** -digits) return power(value);
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en").replace("-", "−");
  return value.toFixed(digits).replace("-", "−");
}

const percent = (value) => (known(value) ? `${value > 0 && value < 0.01 ? (100 * value).toFixed(1) : Math.round(100 * value)} %` : "–");
const count = (value) => (known(value) ? value.toLocaleString("en") : "–");
const spread = (record) => (known(record.spread) ? ` ± ${number(record.spread, 3)}` : "");
