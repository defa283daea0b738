// Batches: what arrived, and whether it looks like what the model was trained on.

function batchesPanel() {
  const arrived = D.batches.filter((batch) => batch.status !== "source").reverse();
  return [
    heading("Batches", inWords`What the published tables hold, and whether newly arrived images still look like those that the model was trained on.`),
    batchTable(),
    asideCard(),
    arrived.length ? driftChart() : emptyNote(inWords`No batch has arrived yet. New images come in with facets ingest, or through the drop folder.`),
    ...arrived.map(batchCard),
  ];
}

function batchTable() {
  const drift = (batch) => (batch.drift ? batch.drift.map((value) => fixed(value, 3)).join(" · ") : "–");
  const rows = [...D.batches].reverse().map((batch) => [h("span", { class: "mono" }, batch.batch_id), day(batch.created), batch.source ?? "–",
    count(batch.n_images), count(batch.quarantined), count(batch.duplicates), drift(batch), statusPills(batch)]);
  return h("section", { class: "card", "aria-label": "All batches" }, sortTable([["Batch"], ["Arrived, UTC"], ["From"], [inWords`Images`, "number"], ["Set aside", "number"], ["Known already", "number"],
    [facets.length > 1 ? "Drift by facet" : "Drift", "number"], ["Status"]], rows));
}

function statusPills(batch) {
  const kind = { live: "", source: "", joined: "good", removed: "bad" }[batch.status] ?? "";
  return h("span", { class: "row", style: { gap: "5px" } }, h("span", { class: `pill ${kind}` }, batch.status),
    batch.drifted ? h("span", { class: "pill warn" }, "drifted") : null);
}

function batchCard(batch) {
  const pictures = batch.thumbnails ? range(batch.thumbnails.ids.length).filter((n) => batch.thumbnails.ids[n] !== null) : [];
  const size = batch.thumbnails ? niceSize(batch.thumbnails.sheet, 40) : 40;
  return h("article", { class: "card batch" },
    h("div", { class: "batch-head" }, h("h2", { class: "mono" }, batch.batch_id), statusPills(batch), h("span", { class: "small" }, `${day(batch.created)} · ${plural(batch.n_images, noun)}${batch.source ? ` from ${batch.source}` : ""}`)),
    pictures.length ? h("div", { class: "pics", role: "img", "aria-label": `First ${plural(pictures.length, noun)} of ${batch.batch_id}` }, pictures.map((n) => picture(batch.thumbnails.sheet, n, size, { "data-tip": thumbnailName(batch.thumbnails, n) }))) : null,
    batch.sizes ? facets.map((facet) => shiftList(facet, batch)) : null);
}

function thumbnailName(thumbnails, n) {
  return shortName(visible(thumbnails.files?.paths[n] ?? thumbnails.ids[n]));
}

// The clusters whose part changed most against the images that the model knows.
function shiftList(facet, batch) {
  const found = facet.clusters.map((cluster) => [arrivalOf(cluster, [batch], batch.shifted), cluster]).filter(([arrival]) => arrival);
  const size = ([arrival]) => Math.abs(arrival.arrived - arrival.known) + (arrival.isShifted ? 1 : 0);
  const shown = found.filter((each) => size(each) >= 0.005).sort((a, b) => size(b) - size(a)).slice(0, 6);
  const nShifted = found.filter(([arrival]) => arrival.isShifted).length;
  const verdict = nShifted ? inWords`${plural(nShifted, "cluster")} ${nShifted === 1 ? "holds" : "hold"} another part of it than of the training and test images, by more than chance explains.` : inWords`No difference to the training and test images is more than chance explains.`;
  return h("section", { class: `stack ${facet.tone}`, style: { gap: "8px" } }, h("h3", {}, facetName(facet)),
    h("p", { class: "small" }, verdict),
    shown.length ? h("div", { class: "shift" }, shown.map(([arrival, cluster]) =>
      chip(cluster, h("span", { class: arrival.isShifted ? "shifted" : null }, `${percent(arrival.arrived)} of the batch, else ${percent(arrival.known)}`)))) : null);
}

function driftChart() {
  const measured = D.batches.filter((batch) => batch.drift && batch.status !== "source");
  if (measured.length < 2) return null;
  const traces = (colour) => facets.map((facet, j) => ({ x: measured.map((b) => b.batch_id), y: measured.map((b) => b.drift[j]), name: facet.label, mode: "lines+markers",
    line: { color: colour(`--facet-${j % 6}`), width: 2 }, marker: { size: 9, symbol: measured.map((b) => (b.drifted ? "diamond" : "circle")) } }));
  return h("section", { class: "card stack" }, h("h2", {}, "Drift"), h("p", { class: "note" }, "One point a batch; diamonds count as drifted."),
    chart("Drift score of every batch and facet", traces, { yaxis: { title: { text: "drift score" }, rangemode: "tozero" }, xaxis: { type: "category" } }));
}
