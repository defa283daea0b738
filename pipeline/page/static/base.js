// Elements, numbers and words.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value === false) continue;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([key, v]) => element.style.setProperty(key, v));
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function icon(path) {
  return svg("svg", { viewBox: "0 0 24 24", width: 18, height: 18, fill: "none", stroke: "currentColor",
    "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" },
    svg("path", { d: path }));
}

const count = (n) => Number(n).toLocaleString("en-US");
const fixed = (x, digits = 2) => (x === null || x === undefined || Number.isNaN(x) ? "–" : x.toFixed(digits).replace("-", "−"));
const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

function percent(x, digits) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  const value = 100 * x;
  if (value > 0 && value < 0.1) return "<\u00a00.1\u00a0%";
  return `${value.toFixed(digits ?? (value < 10 && value !== 0 ? 1 : 0))}\u00a0%`;
}

function day(iso) {
  return iso ? iso.slice(0, 16).replace("T", " ") : "–";
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const range = (n) => Array.from({ length: n }, (_, index) => index);

function announce(text) {
  document.getElementById("announce").textContent = text;
}

// Arrow keys move within a group of buttons or links, of which Tab reaches one.
function roving(container, selector, columns = () => 1) {
  const items = () => [...container.querySelectorAll(selector)];
  items().forEach((item, index) => item.setAttribute("tabindex", index ? -1 : 0));
  container.addEventListener("keydown", (event) => {
    const all = items(), here = all.indexOf(event.target.closest(selector));
    if (here < 0) return;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
    const next = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : here + (step ?? NaN);
    if (Number.isNaN(next)) return;
    event.preventDefault();
    const target = all[Math.max(0, Math.min(all.length - 1, next))];
    all.forEach((item) => item.setAttribute("tabindex", item === target ? 0 : -1));
    target.focus();
  });
  return container;
}
