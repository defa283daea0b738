// Where everything on the page comes from.

function aboutPanel() {
  const { published, model } = D, [channels, height, width] = D.image_shape;
  const facts = [
    ["Experiment", published.experiment], ["Published version", `${published.version}, ${day(published.created)} UTC`],
    ["Model in service", h("span", { class: "mono" }, published.model_version)],
    ["Trained on", `${plural(model.n_train, noun)} of ${model.trained_on.join(", ")}`],
    ["Hints", model.hints.some((facet) => facet.trained) ? model.hints.map((facet, index) => h("div", {}, `${facets[index].label}: ${facet.trained ? `trained with hints on ${plural(facet.trained, noun)}` : "none"}`)) : "none: nobody told a facet what it is about"],
    [inWords`Images`, `${height} × ${width} pixels, ${channels === 1 ? "grey" : `${channels} channels`}`],
    ["Files", D.files === null ? `the page names none; facets report ${published.experiment} --paths lets it` : hasPaths ? [D.files.roots.map((root) => h("div", {}, fileName(visible(decoded(root))))), `the page says where ${count(D.files.paths.filter((path) => path !== null).length)} of its ${plural(D.images.ids.length, "picture")} come from; facets report ${published.experiment} --no-paths leaves that out`] : "the source has no names"],
    ["Source splits", `${count(D.n_train)} training, ${count(D.n_test)} test`],
    ["Machine", Object.entries(model.runtime).map(([key, value]) => `${key} ${value}`).join(", ")],
    ["Generated samples", `temperature ${D.temperature}`],
  ];
  const list = (rows, kind = "") => h("dl", { class: `facts ${kind}` }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  const params = Object.entries(model.model).map(([key, value]) => [key, h("span", { class: "mono" }, Array.isArray(value) ? value.join(", ") : String(value))]);
  const query = `facets query ${published.experiment} "SELECT cluster_uid, count(*) AS n\n  FROM facet_0 GROUP BY cluster_uid ORDER BY n DESC"`;
  return [
    heading("About this page", "Everything here can be made again from the published files of this version; nothing is loaded from anywhere else."),
    h("div", { class: "columns" },
      h("section", { class: "card stack" }, h("h2", {}, "Provenance"), list(facts)),
      h("section", { class: "card stack" }, h("h2", {}, "Model section"), list(params))),
    h("section", { class: "card stack" }, h("h2", {}, "Ask the tables"), h("p", { class: "note" }, "The same clusters as tables, one per facet, with SQL:"), h("pre", { tabindex: 0, "aria-label": "Example query" }, h("code", {}, query))),
    h("section", { class: "card stack" }, h("h2", {}, "Words"), list([
      ["Facet", inWords`One of several clusterings of the same images. Each has its own latent space and its own clusters.`],
      ["Cluster", inWords`A group of images in one facet, with an id (such as f0-c017) that survives retraining.`],
      ["Confidence", inWords`The probability that the image belongs to its cluster rather than to another of the same facet.`],
      ["Typicality", inWords`How usual an image is for the facet as a whole: the log-density of its latent, in nats. Low means odd.`],
      ["Drift", inWords`How much a batch differs from the images that the model was trained on.`]], "long")),
    D.lineage.length ? lineageCard() : null,
  ];
}

// An address as people read it; bytes that are no UTF-8 stay percent signs and digits.
function decoded(address) {
  try {
    return decodeURI(address);
  } catch {
    return address;
  }
}

function lineageCard() {
  return h("section", { class: "card stack" }, h("h2", {}, "What became of earlier clusters"),
    sortTable([["Facet"], ["Before"], ["Now"], ["Kind"], [inWords`Shared images`, "number"]],
      D.lineage.map((row) => [facets[row.facet]?.label ?? row.facet, h("span", { class: "mono" }, row.old_uid), h("span", { class: "mono" }, row.new_uid), row.kind, count(row.overlap)])));
}
