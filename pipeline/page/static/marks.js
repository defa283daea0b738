// Small marks that several panels share.

const facetName = (facet) => h("span", { class: `facet-name ${facet.tone}` }, h("span", { class: "swatch", "aria-hidden": "true" }), facet.label);
const stat = (name, value, small) => h("div", { class: "stat" }, h("dt", {}, name), h("dd", {}, value, small ? h("small", {}, " " + small) : null));
const meter = (fraction) => h("div", { class: "meter", "aria-hidden": "true" }, h("i", { style: { width: `${100 * Math.max(0, Math.min(1, fraction || 0))}%` } }));
const emptyNote = (text) => h("p", { class: "empty" }, text);
const heading = (title, ...text) => h("header", { class: "panel-head" }, h("h1", { tabindex: "-1" }, title), text.map((part) => h("p", {}, part)));

function clusterHref(cluster) {
  return withShow(`cluster:${cluster.facet}:${cluster.id}`);
}

function chip(cluster, small, size = 34) {
  const face = faceOf(cluster);
  return h("a", { class: `chip ${facets[cluster.facet].tone}`, href: clusterHref(cluster) },
    imagePicture(face, size), h("span", {}, h("b", {}, titleOf(cluster)), small ? h("small", {}, small) : null));
}

function arrivalNote({ known, arrived, isShifted }) {
  return h("p", { class: `small ${isShifted ? "shifted" : ""}` }, inWords`Of newly delivered images ${percent(arrived)} are here, of training and test images ${percent(known)}${isShifted ? ": more than chance explains" : ""}.`);
}

// Pictures of the model's own images are chosen with the model; those that came later are counted, and shown by batch.
function laterNote() {
  if (!nLater) return null;
  return h("p", { class: "note" }, inWords`Shown are training and test images, ${count(nImages - nLater)} in all. ${plural(nLater, noun)} came later and ${nLater === 1 ? "is" : "are"} counted, but shown under `, h("a", { href: "#/batches" }, "Batches"), " alone.");
}

let controls = 0;

function segments(label, options, chosen, onchange) {
  const name = `segments-${controls++}`;
  return h("div", { class: "segments", role: "radiogroup", "aria-label": label }, options.map(([value, text]) =>
    h("label", {}, h("input", { type: "radio", name, value, checked: value === chosen, onchange: () => onchange(value) }), text)));
}

function choice(label, options, chosen, onchange) {
  const list = h("select", { onchange: (event) => onchange(event.target.value) },
    options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text)));
  return h("label", { class: "field" }, label, list);
}

function facetTabs(label, panel, chosen) {
  if (facets.length === 1) return null;
  return segments(label, facets.map((facet) => [facet.index, facet.label]), chosen, (j) => { location.hash = `#/${panel}/${j}`; });
}

// On a narrow screen a table of many columns becomes a list: every cell with its column's name beside it.
function sortTable(columns, rows) {
  const props = (index) => ({ class: columns[index][1], "data-label": columns[index][0] });
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table" }, h("table", { class: columns.length > 3 ? "wide" : null },
    h("thead", {}, h("tr", {}, columns.map(([name, kind]) => h("th", { scope: "col", class: kind }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((value, index) =>
      h(index ? "td" : "th", index ? props(index) : { ...props(index), scope: "row" }, value)))))));
}

// A card that follows the pointer over any picture with data-image.
function hoverCard(index, extra = null) {
  const longer = Math.max(D.sheets.images.width, D.sheets.images.height);
  return [imagePicture(index, niceSize("images", Math.max(112, Math.min(longer, 192)))),
    filePath(index) === null ? null : fileName(shortName(nameOf(index))),
    ...facets.map((facet) => h("div", { class: facet.tone }, facetName(facet), h("br"), h("b", {}, titleOf(clusterOf(facet, index))),
      `, ${surenessOf(facet, index)}`)), extra];
}

const hover = document.getElementById("hover");

function placeHover(x, y, content) {
  hover.replaceChildren(...content.filter(Boolean));
  hover.hidden = false;
  const box = hover.getBoundingClientRect();
  hover.style.left = `${x + 18 + box.width > innerWidth ? Math.max(4, x - box.width - 14) : x + 18}px`;
  hover.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - box.height - 6))}px`;
}

function hideHover() {
  hover.hidden = true;
}

function followPictures() {
  let current = null;
  document.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const at = event.target.closest?.("[data-image], [data-tip]");
    if (!at) {
      if (current) hideHover();
      current = null;
      return;
    }
    const dialog = document.getElementById("details"), host = dialog.open ? dialog : document.body;
    if (hover.parentNode !== host) host.append(hover); // a modal dialog lies above everything outside it
    current = at;
    const tip = at.dataset.tip ? h("div", {}, at.dataset.tip) : null;
    placeHover(event.clientX, event.clientY, at.dataset.image ? hoverCard(Number(at.dataset.image), tip) : [tip]);
  });
  document.addEventListener("scroll", hideHover, true);
}
