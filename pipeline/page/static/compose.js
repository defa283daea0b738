// Swaps: one image with one facet taken from another.

const composeState = { a: 0, b: 1, facet: null };

function composePanel() {
  const swaps = D.swaps, usable = range(swaps.anchors.length).filter((n) => isShown(swaps.anchors[n]));
  composeState.facet ??= facets.length - 1;
  if (!usable.includes(composeState.a)) composeState.a = usable[0];
  if (!usable.includes(composeState.b)) composeState.b = usable[1] ?? usable[0];
  const body = h("div", { class: "stack", style: { gap: "26px" } });
  const draw = () => {
    const held = document.activeElement?.dataset?.spot;
    body.replaceChildren(h("div", { class: "composed" }, equation(), readBack()), swapGrid(usable, draw));
    if (held) body.querySelector(`[data-spot="${held}"]`)?.focus();
  };
  draw();
  return [
    heading("Compose", inWords`Take an image apart and put it together anew: one facet from image B, everything else from image A. ${D.nearest ? inWords`Shown is the real image that all facets together place nearest to the mixture, as a mixture of features is no picture.` : "The model decodes the mixture."}`),
    h("div", { class: "row" }, segments(inWords`Facet taken from image B`, facets.map((f) => [f.index, `${f.label} from B`]), composeState.facet, (j) => { composeState.facet = j; draw(); })),
    body,
  ];
}

function swapIndex(facet, a, b) {
  const n = D.swaps.anchors.length;
  return (facet * n + a) * n + b;
}

function equation() {
  const { a, b, facet } = composeState, [first, second] = [D.swaps.anchors[a], D.swaps.anchors[b]];
  const size = niceSize("images", innerWidth < 600 ? 112 : innerWidth < 1400 ? 144 : 168), shown = facets[facet];
  const part = (index, title, text) => h("figure", {}, h("button", { type: "button", class: "pic-button", "aria-label": `${title}, details`, onclick: () => show(`image:${index}`) }, imagePicture(index, size)),
    h("figcaption", {}, h("b", {}, title), h("br"), text));
  const others = facets.filter((f) => f !== shown).map((f) => f.label).join(", ");
  return h("div", { class: `card equation ${shown.tone}` },
    part(first, inWords`Image A`, `gives ${others}`), h("span", { class: "sign", "aria-hidden": "true" }, "+"),
    part(second, inWords`Image B`, h("span", { class: "facet-name" }, `gives ${shown.label}`)), h("span", { class: "sign equals", "aria-hidden": "true" }, "="),
    h("figure", { class: "result" }, h("span", { class: "ringed", role: "img", "aria-label": inWords`Image A with ${shown.label} of image B` }, picture("swaps", swapIndex(facet, a, b), size)),
      h("figcaption", {}, h("b", {}, "Composed"), h("br"), `A with B’s ${shown.label.toLowerCase()}`)));
}

// The clusters that the model finds in its own compositions: by facet taken, image A, image B and facet.
let readings = null;

function swapReadings() {
  readings ??= unpack(D.swaps.cluster_id);
  return readings;
}

// What the model reads when it is shown its own composition.
function readBack() {
  const { a, b, facet } = composeState, n = facets.length, at = swapIndex(facet, a, b) * n;
  const rows = facets.map((f) => {
    const found = swapReadings()[at + f.index], source = D.swaps.anchors[f.index === facet ? b : a];
    const isKept = found === f.pool.cluster_id[source];
    return h("li", {}, h("span", { class: `pill ${isKept ? "good" : "warn"}` }, isKept ? "✓ as wanted" : "changed"), facetName(f),
      h("span", { class: "small" }, inWords`of image ${f.index === facet ? "B" : "A"}`), chip(f.clusters[found], "", 26));
  });
  return h("section", { class: "card stack" }, h("h2", {}, "Read again"),
    h("p", { class: "note" }, inWords`${D.nearest ? "The mixture goes" : "The composed picture goes"} through the encoder once more. If the facets are separate, each one finds the cluster of the image it came from.`),
    h("ul", { class: "checks" }, rows));
}

// On a narrow screen all combinations fit beside each other, however small.
function swapSize(n) {
  if (innerWidth > 900) return niceSize("images", 48);
  const inner = document.getElementById("main").clientWidth - 2 * 16 - 2 * 16 - 2;
  return Math.min(48, Math.floor((inner - 3 * (n + 2) - 3) / (n + 1)));
}

function swapGrid(usable, draw) {
  const { anchors } = D.swaps, size = swapSize(usable.length), tone = facets[composeState.facet].tone;
  const pick = (name, n) => h("button", { type: "button", "aria-pressed": composeState[name] === n, "data-spot": `${name}-${n}`,
    "aria-label": inWords`Image ${name.toUpperCase()}: number ${n + 1}`, onclick: () => { composeState[name] = n; draw(); } }, imagePicture(anchors[n], size));
  const mix = (a, b) => h("button", { type: "button", "data-spot": `mix-${a}-${b}`, "aria-pressed": composeState.a === a && composeState.b === b,
    "aria-label": `A number ${a + 1} with B number ${b + 1}`, onclick: () => { Object.assign(composeState, { a, b }); draw(); } }, picture("swaps", swapIndex(composeState.facet, a, b), size));
  const table = h("table", { class: "swap-grid" },
    h("thead", {}, h("tr", {}, h("td", { class: "small" }, innerWidth > 900 ? "A ↓ B →" : ""), usable.map((b) => h("th", { scope: "col", class: tone }, pick("b", b))))),
    h("tbody", {}, usable.map((a) => h("tr", {}, h("th", { scope: "row" }, pick("a", a)), usable.map((b) => h("td", {}, mix(a, b)))))));
  roving(table, "button", () => usable.length + 1);
  return h("section", { class: "card stack" }, h("h2", {}, "All combinations"), h("div", { class: "scroll" }, table));
}
