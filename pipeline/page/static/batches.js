// Batches: what arrived, and whether it looks like what the model was trained on.

function batchesPanel() {
  const arrived = D.batches.filter((batch) => batch.status !== "source").reverse();
  return [
    heading("Batches", "What the published tables hold, and whether newly arrived images still look like those that the model was trained on."),
    batchTable(),
    asideCard(),
    arrived.length ? driftChart() : emptyNote("No batch has arrived yet. New images come in with facets ingest, or through the drop folder."),
    ...arrived.map(batchCard),
  ];
}

function batchTable() {
  const drift = (batch) => (batch.drift ? batch.drift.map((value) => fixed(value, 3)).join(" · ") : "–");
  const rows = [...D.batches].reverse().map((batch) => [h("span", { class: "mono" }, batch.batch_id), day(batch.created), batch.source ?? "–",
    count(batch.n_images), count(batch.quarantined), count(batch.duplicates), drift(batch), statusPills(batch)]);
  return h("section", { class: "card", "aria-label": "All batches" }, sortTable([["Batch"], ["Arrived, UTC"], ["From"], ["Images", "number"], ["Set aside", "number"], ["Known already", "number"],
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
    h("div", { class: "batch-head" }, h("h2", { class: "mono" }, batch.batch_id), statusPills(batch), h("span", { class: "small" }, `${day(batch.created)} · ${plural(batch.n_images, "image")}${batch.source ? ` from ${batch.source}` : ""}`)),
    pictures.length ? h("div", { class: "pics", role: "img", "aria-label": `First ${plural(pictures.length, "image")} of ${batch.batch_id}` }, pictures.map((n) => picture(batch.thumbnails.sheet, n, size, { "data-tip": thumbnailName(batch.thumbnails, n) }))) : null,
    batch.sizes ? facets.map((facet) => shiftList(facet, batch)) : null);
}

function thumbnailName(thumbnails, n) {
  return shortName(visible(thumbnails.files?.paths[n] ?? thumbnails.ids[n]));
}

// The clusters whose part changed most against the source.
function shiftList(facet, batch) {
  const moved = facet.clusters.map((cluster) => [shift(cluster, batch), cluster]).filter(([value]) => Math.abs(value) >= 0.005);
  const shown = moved.sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])).slice(0, 6);
  return h("section", { class: `stack ${facet.tone}`, style: { gap: "8px" } }, h("h3", {}, facetName(facet)),
    shown.length ? h("div", { class: "shift" }, shown.map(([value, cluster]) => chip(cluster, delta(value))))
      : h("p", { class: "small" }, "Every cluster's part is within half a percentage point of the source's."));
}

function driftChart() {
  const measured = D.batches.filter((batch) => batch.drift && batch.status !== "source");
  if (measured.length < 2) return null;
  const traces = (colour) => facets.map((facet, j) => ({ x: measured.map((b) => b.batch_id), y: measured.map((b) => b.drift[j]), name: facet.label, mode: "lines+markers",
    line: { color: colour(`--facet-${j % 6}`), width: 2 }, marker: { size: 9, symbol: measured.map((b) => (b.drifted ? "diamond" : "circle")) } }));
  return h("section", { class: "card stack" }, h("h2", {}, "Drift"), h("p", { class: "note" }, "One point a batch; diamonds count as drifted."),
    chart("Drift score of every batch and facet", traces, { yaxis: { title: { text: "drift score" }, rangemode: "tozero" }, xaxis: { type: "category" } }));
}
