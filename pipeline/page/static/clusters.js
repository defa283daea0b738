// The gallery of one facet: clusters as rows of examples, generated samples beside them.

const galleryState = { order: "confidence", query: "" };

const ORDERS = {
  confidence: ["Surest first", (facet) => facet.by_confidence],
  size: ["Largest first", (facet) => byValue(facet, (cluster) => -cluster.size)],
  similarity: ["Similar together", (facet) => facet.by_similarity],
  drift: ["Most drift first", (facet) => byValue(facet, (cluster) => -Math.abs(driftOf(cluster) ?? 0))],
  name: ["By name", (facet) => [...facet.clusters].sort((a, b) => titleOf(a).localeCompare(titleOf(b), "en", { numeric: true })).map((c) => c.id)],
};

function byValue(facet, value) {
  return [...facet.clusters].sort((a, b) => value(a) - value(b)).map((cluster) => cluster.id);
}

function clustersPanel(j) {
  const facet = facets[j], list = h("div", { class: `gallery ${facet.tone}` });
  const size = niceSize("images", 40);
  list.style.setProperty("--pic", `${size}px`);
  const draw = () => list.replaceChildren(...galleryRows(facet, size));
  draw();
  const orders = Object.entries(ORDERS).filter(([key]) => key !== "drift" || facet.used.some((c) => driftOf(c) !== null));
  return [
    heading(facets.length === 1 ? "Clusters" : `Clusters of ${facet.label}`,
      "One row a cluster: its surest images, and beside them images that the model makes up for it. Open a cluster for its details and neighbours."),
    h("div", { class: "row" },
      facetTabs("Facet", "clusters", j),
      choice("Order", orders.map(([key, [text]]) => [key, text]), galleryState.order, (value) => { galleryState.order = value; draw(); }),
      h("label", { class: "field" }, "Find", h("input", { type: "search", placeholder: "name or id", value: galleryState.query,
        oninput: (event) => { galleryState.query = event.target.value; draw(); } }))),
    list,
  ];
}

function galleryRows(facet, size) {
  const query = galleryState.query.trim().toLowerCase();
  const ordered = ORDERS[galleryState.order][1](facet).map((id) => facet.clusters[id]);
  const matching = ordered.filter((c) => !query || [titleOf(c), c.uid ?? "", String(c.id)].some((text) => text.toLowerCase().includes(query)));
  const shown = matching.filter((cluster) => cluster.size > 0), bare = matching.filter((cluster) => cluster.size === 0);
  announce(`${plural(shown.length, "cluster")} shown`);
  if (!matching.length) return [emptyNote(`No cluster matches “${galleryState.query}”.`)];
  return [
    h("div", { class: "gallery-legend", "aria-hidden": "true" }, h("span", {}, "Cluster"), h("span", {}, "Surest images"), h("span", {}, "Made up by the model")),
    ...shown.map((cluster) => galleryRow(facet, cluster, size)),
    bare.length ? h("p", { class: "note" }, `${plural(bare.length, "component")} of the model ${bare.length === 1 ? "holds" : "hold"} no image: ${bare.map((c) => c.uid ?? c.id).join(", ")}.`) : null,
  ].filter(Boolean);
}

function galleryRow(facet, cluster, size) {
  const examples = facet.examples[cluster.id].filter(isShown);
  const made = range(facet.generated).map((n) => picture("generated", facet.generated_from + cluster.id * facet.generated + n, size));
  const drift = driftOf(cluster);
  return h("article", { class: "card cluster", "data-cluster": cluster.id },
    h("div", { class: "cluster-head" },
      h("h2", {}, h("a", { href: clusterHref(cluster) }, titleOf(cluster))),
      h("p", { class: "small" }, `${cluster.name && cluster.uid ? cluster.uid + " · " : ""}${plural(cluster.size, "image")}, ${percent(share(cluster))}`),
      meter(cluster.confidence),
      h("p", { class: "small" }, `confidence ${fixed(cluster.confidence)}`, drift === null ? null : [" · new batches ", delta(drift)])),
    h("div", { class: "pics", role: "img", "aria-label": `${plural(examples.length, "example image")} of ${titleOf(cluster)}, surest first` }, examples.map((i) => imagePicture(i, size))),
    h("div", { class: "made" }, h("div", { class: "pics", role: "img", "aria-label": `${plural(made.length, "generated image")} of ${titleOf(cluster)}` }, made)));
}
