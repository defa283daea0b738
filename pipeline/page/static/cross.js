// Two facets against each other: the view that shows what several facets mean.

const crossState = { mode: "real", order: "similarity", from: 0 };
const LEAST_CELL = 34;

function crossPanel(first, second) {
  const cross = crosses.find((c) => c.first === Math.min(first, second) && c.second === Math.max(first, second));
  const view = crossView(cross, first > second);
  const wrap = h("div", { class: "cross-wrap" });
  const pager = h("div", { class: "row", role: "group", "aria-label": "Columns" });
  const draw = () => {
    const rowIds = inOrder(view.rows, view.rowIds), columnIds = inOrder(view.columns, view.columnIds);
    const shown = columnsOnScreen(view, columnIds);
    wrap.replaceChildren(crossTable(view, rowIds, shown));
    pager.hidden = shown.length === columnIds.length;
    const step = (by, text) => h("button", { type: "button", class: "button", disabled: crossState.from + by < 0 || crossState.from + by >= columnIds.length,
      onclick: () => { crossState.from += by; draw(); } }, text);
    pager.replaceChildren(step(-shown.page, "Previous"), step(shown.page, "Next"),
      h("span", { class: "small", role: "status" }, `Columns ${crossState.from + 1} to ${crossState.from + shown.length} of ${columnIds.length}`));
  };
  crossState.from = 0;
  draw();
  const pairs = facets.flatMap((a) => facets.filter((b) => a !== b).map((b) => [`${a.index}/${b.index}`, `${a.label} by ${b.label}`]));
  return [
    heading(`${view.rows.label} against ${view.columns.label}`,
      inWords`Every image lies in one cell, by its clusters in both facets. Along a line the line's property stays and the other changes; down a column it is the other way round.`),
    h("div", { class: "row" },
      segments("Cells", [["real", inWords`Real images`], ["imagined", D.nearest ? "Nearest" : "Imagined"], ["counts", "Counts"]], crossState.mode, (mode) => { crossState.mode = mode; draw(); }),
      choice("Order", [["similarity", "Similar together"], ["size", "Largest first"]], crossState.order, (order) => { Object.assign(crossState, { order, from: 0 }); draw(); }),
      choice("Facets", pairs, `${first}/${second}`, (pair) => { location.hash = `#/cross/${pair}`; })),
    h("p", { class: "note" }, crossNote(cross, view)),
    pager,
    wrap,
  ];
}

// The table's rows and columns, with a cell's place in the stored arrays whichever way round it is shown.
function crossView(cross, isTurned) {
  const nColumns = cross.column_ids.length, nSecond = facets[cross.second].n_components;
  const at = (row, column) => (isTurned ? [column, row] : [row, column]);
  const place = (row, column) => {
    const [r, c] = at(row, column);
    return cross.row_ids.indexOf(r) * nColumns + cross.column_ids.indexOf(c);
  };
  return {
    rows: facets[isTurned ? cross.second : cross.first], columns: facets[isTurned ? cross.first : cross.second],
    rowIds: isTurned ? cross.column_ids : cross.row_ids, columnIds: isTurned ? cross.row_ids : cross.column_ids,
    count: (row, column) => { const [r, c] = at(row, column); return cross.counts[r * nSecond + c]; },
    example: (row, column) => cross.examples[place(row, column)],
    imagined: (row, column) => cross.imagined_from + place(row, column),
  };
}

function crossNote(cross, view) {
  const cut = view.rowIds.length < view.rows.used.length || view.columnIds.length < view.columns.used.length;
  const pair = D.dependence.find((d) => d.first === cross.first && d.second === cross.second);
  const nCounted = sum(view.rowIds.flatMap((r) => view.columnIds.map((c) => view.count(r, c))));
  const notes = [inWords`Pale cells have no image to show: the picture there is ${D.nearest ? inWords`the real image, of any clusters, nearest to what the model imagines` : "what the model imagines"}.`];
  if (nCounted < nImages) notes.unshift(`The cells hold ${count(nCounted)} of them.`);
  if (pair) notes.unshift(`These two facets ${dependenceWords(pair)}. ${sharedWords(pair)}.`);
  if (cut) notes.push(`Shown are the ${view.rowIds.length} largest of ${view.rows.used.length} and the ${view.columnIds.length} largest of ${view.columns.used.length} clusters.`);
  return notes.join(" ");
}

function inOrder(facet, ids) {
  const order = crossState.order === "similarity" ? facet.by_similarity : byValue(facet, (cluster) => -cluster.size);
  return order.filter((id) => ids.includes(id));
}

// The room for cells beside the names of the rows.
function cellRoom(view) {
  const main = document.getElementById("main"), inner = main.clientWidth - 2 * parseFloat(getComputedStyle(main).paddingLeft);
  const isNamed = view.rowIds.some((id) => view.rows.clusters[id].name);
  return inner - (innerWidth > 900 ? (isNamed ? 176 : 118) : isNamed ? 124 : 110);
}

// On a narrow screen the columns come by pages, each as wide as the screen; elsewhere the table scrolls.
function columnsOnScreen(view, columnIds) {
  const most = Math.max(1, Math.floor(cellRoom(view) / (LEAST_CELL + 3)));
  const page = innerWidth > 900 || columnIds.length <= most ? columnIds.length : most;
  return Object.assign(columnIds.slice(crossState.from, crossState.from + page), { page });
}

function crossTable(view, rowIds, columnIds) {
  const size = Math.max(LEAST_CELL, Math.min(SMOOTH_UP_TO, Math.floor(cellRoom(view) / Math.max(1, columnIds.length)) - 3));
  const tag = (cluster) => h("span", { class: `tag ${cluster.name ? "named" : ""}`, "aria-hidden": "true" }, shortOf(cluster));
  const head = (facet, id, scope) => h("th", { scope, class: facet.tone, "data-head": `${scope}-${id}` },
    h("a", { href: clusterHref(facet.clusters[id]), "aria-label": `${facet.label}, ${titleOf(facet.clusters[id])}`, "data-tip": `${titleOf(facet.clusters[id])} · ${plural(facet.clusters[id].size, noun)}` },
      scope === "row" ? tag(facet.clusters[id]) : null,
      imagePicture(faceOf(facet.clusters[id]), Math.min(28, size - 8)),
      scope === "col" ? tag(facet.clusters[id]) : null));
  const largest = Math.max(1, ...rowIds.flatMap((r) => columnIds.map((c) => view.count(r, c))));
  const table = h("table", { class: "cross" },
    h("caption", { class: "visually-hidden" }, `Clusters of ${view.rows.label} by clusters of ${view.columns.label}`),
    h("thead", {}, h("tr", {},
      h("td", { class: "corner" }, h("span", { class: `facet-name ${view.columns.tone}` }, `${view.columns.label} →`), h("br"), h("span", { class: `facet-name ${view.rows.tone}` }, `${view.rows.label} ↓`)),
      columnIds.map((id) => head(view.columns, id, "col")))),
    h("tbody", {}, rowIds.map((row) => h("tr", {}, head(view.rows, row, "row"), columnIds.map((column) =>
      h("td", {}, crossCell(view, row, column, size, largest)))))));
  roving(table, ".cell", () => columnIds.length);
  lightHeads(table);
  return table;
}

function crossCell(view, row, column, size, largest) {
  const n = view.count(row, column), example = view.example(row, column), isReal = isShown(example);
  const [a, b] = [view.rows.clusters[row], view.columns.clusters[column]];
  const label = `${view.rows.label} ${titleOf(a)}, ${view.columns.label} ${titleOf(b)}: ${n ? plural(n, noun) : inWords`no image`}`;
  const sheet = D.sheets.images, scale = size / Math.max(sheet.width, sheet.height);
  const props = { type: "button", class: "cell", "data-row": row, "data-column": column, "aria-label": label,
    onclick: () => show(`cell:${view.rows.index}:${view.columns.index}:${row}:${column}`) };
  if (crossState.mode === "counts") {
    const strength = n ? 0.12 + 0.88 * Math.sqrt(n / largest) : 0;
    return h("button", { ...props, "data-tip": label, style: { width: `${size}px`, height: `${size}px` } },
      h("span", { class: "tally", style: heat(strength) }, n || ""));
  }
  if (crossState.mode === "real" && isReal) return h("button", { ...props, "data-tip": plural(n, noun) }, imagePicture(example, size));
  const made = picture("imagined", view.imagined(row, column), size);
  const isGhost = crossState.mode === "real";
  return h("button", { ...props, class: `cell ${isGhost ? "ghost" : ""}`, "data-tip": `${n ? plural(n, noun) : inWords`No image`} here · ${D.nearest ? "nearest to what the model imagines" : "imagined by the model"}`,
    style: { height: `${sheet.height * scale}px` } }, made);
}

function heat(strength) {
  const isDark = document.documentElement.classList.contains("dark");
  const mix = (from, to) => from.map((value, k) => Math.round(value + (to[k] - value) * strength));
  const ground = isDark ? mix([22, 26, 33], [127, 190, 255]) : mix([255, 255, 255], [22, 68, 132]);
  const luminance = (0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2]) / 255;
  return { background: `rgb(${ground})`, color: luminance > 0.5 ? "#10151d" : "#ffffff" };
}

function lightHeads(table) {
  const light = (event, isLit) => {
    const cell = event.target.closest?.(".cell");
    if (!cell) return;
    for (const name of [`row-${cell.dataset.row}`, `col-${cell.dataset.column}`]) {
      table.querySelector(`[data-head="${name}"]`).classList.toggle("lit", isLit);
    }
  };
  for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    table.addEventListener(on, (event) => light(event, true));
    table.addEventListener(off, (event) => light(event, false));
  }
}
