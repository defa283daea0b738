// The gallery of one facet: clusters as rows of examples, generated samples beside them.

const galleryState = { order: null, query: "" };
const MOST_EXAMPLES = 60;

const ORDERS = {
  group: ["By group", (facet) => [...facet.groups.flatMap((group) => group.clusters), ...facet.clusters.filter((c) => c.size === 0)].map((c) => c.id)],
  confidence: ["Surest first", (facet) => facet.by_confidence],
  size: ["Largest first", (facet) => byValue(facet, (cluster) => -cluster.size)],
  similarity: ["Similar together", (facet) => facet.by_similarity],
  drift: ["Most drift first", (facet) => byValue(facet, (cluster) => -Math.abs(shiftOf(cluster)))],
  name: ["By name", (facet) => [...facet.clusters].sort((a, b) => titleOf(a).localeCompare(titleOf(b), "en", { numeric: true })).map((c) => c.id)],
};

const orderOf = (facet) => (galleryState.order === "group" && !facet.groups.length ? null : galleryState.order) ?? (facet.groups.length ? "group" : "confidence");
const shiftOf = (cluster) => { const found = arrivalOf(cluster); return found ? found.arrived - found.known : 0; };

function byValue(facet, value) {
  return [...facet.clusters].sort((a, b) => value(a) - value(b)).map((cluster) => cluster.id);
}

function clustersPanel(j) {
  const facet = facets[j], list = h("div", { class: `gallery ${facet.tone}` });
  const size = niceSize("images", 40);
  const { width, height } = D.sheets.images;
  list.style.setProperty("--pic", `${size}px`);
  list.style.setProperty("--pic-height", `${(size * height) / Math.max(width, height)}px`);
  const draw = () => list.replaceChildren(...galleryRows(facet, size).filter(Boolean));
  draw();
  const offered = { group: facet.groups.length > 0, drift: facet.used.some((c) => arrivalOf(c) !== null) };
  const orders = Object.entries(ORDERS).filter(([key]) => offered[key] ?? true);
  return [
    heading(facets.length === 1 ? "Clusters" : `Clusters of ${facet.label}`,
      inWords`A line a cluster: its surest images, and beside them ${D.nearest ? inWords`the real images of any cluster that are nearest to what` : inWords`images that`} the model makes up for it. Open a cluster for its details and neighbours.`
      + (facet.groups.length ? " Clusters that other trainings do not tell apart stand in one group." : "")),
    h("div", { class: "row" },
      facetTabs("Facet", "clusters", j),
      choice("Order", orders.map(([key, [text]]) => [key, text]), orderOf(facet), (value) => { galleryState.order = value; draw(); }),
      h("label", { class: "field" }, "Find", h("input", { type: "search", placeholder: "name or id", value: galleryState.query,
        oninput: (event) => { galleryState.query = event.target.value; draw(); } })),
      fileField(draw)),
    laterNote(),
    treeCard(facet),
    list,
  ];
}

function galleryRows(facet, size) {
  const query = galleryState.query.trim().toLowerCase();
  const ordered = ORDERS[orderOf(facet)][1](facet).map((id) => facet.clusters[id]);
  const matching = ordered.filter((c) => !query || [titleOf(c), c.uid ?? "", String(c.id), c.group?.title ?? "", c.group?.uid ?? ""].some((text) => text.toLowerCase().includes(query)));
  const shown = matching.filter((cluster) => cluster.size > 0 && (!isFiltered() || wantedMembers(facet, cluster.id).length));
  const bare = isFiltered() ? [] : matching.filter((cluster) => cluster.size === 0);
  announce(`${plural(shown.length, "cluster")} shown`);
  if (!matching.length) return [emptyNote(`No cluster matches “${galleryState.query}”.`)];
  if (!shown.length && isFiltered()) return [emptyNote(inWords`No image on this page has “${visible(fileFilter.text.trim())}” in its path.`)];
  return [
    filterNote(),
    h("div", { class: "gallery-legend", "aria-hidden": "true" }, h("span", {}, "Cluster"), h("span", {}, isFiltered() ? inWords`Images of these files` : inWords`Surest images`), h("span", {}, D.nearest ? "Nearest to what the model makes up, of any cluster" : "Made up by the model")),
    ...shown.flatMap((cluster, n) => [orderOf(facet) === "group" && cluster.group.uid !== shown[n - 1]?.group.uid ? groupHeading(facet, cluster.group) : null, galleryRow(facet, cluster, size)]),
    bare.length ? h("p", { class: "note" }, inWords`${plural(bare.length, "component")} of the model ${bare.length === 1 ? "holds" : "hold"} no image: ${bare.map((c) => c.uid ?? c.id).join(", ")}.`) : null,
  ];
}

function groupHeading(facet, { uid }) {
  const group = facet.groups.find((each) => each.uid === uid);
  return h("h2", { class: "group-heading", "data-group": uid }, group.title,
    h("span", { class: "small" }, `${group.title === uid ? "" : `${uid} · `}${plural(group.clusters.length, "cluster")}, ${plural(group.size, noun)}, ${percent(group.size / (facet.total || 1))} of all`));
}

// Members that the filter by file leaves, surest first.
function wantedMembers(facet, id) {
  return facet.members[id].filter(isWanted).sort((a, b) => facet.pool.confidence[b] - facet.pool.confidence[a]);
}

function galleryRow(facet, cluster, size) {
  const wanted = isFiltered() ? wantedMembers(facet, cluster.id) : null;
  const examples = (wanted ?? facet.examples[cluster.id]).filter(isShown).slice(0, MOST_EXAMPLES);
  const made = range(facet.generated).map((n) => picture("generated", facet.generated_from + cluster.id * facet.generated + n, size));
  const arrival = arrivalOf(cluster);
  return h("article", { class: "card cluster", "data-cluster": cluster.id },
    h("div", { class: "cluster-head" },
      h("h2", {}, h("a", { href: clusterHref(cluster) }, titleOf(cluster))),
      h("p", { class: "small" }, `${cluster.name && cluster.uid ? cluster.uid + " · " : ""}${plural(cluster.size, noun)}, ${percent(share(cluster))} of all`),
      wanted ? h("p", { class: "small" }, `${plural(wanted.length, inWords`such image`)} on this page`) : null,
      meter(cluster.confidence),
      h("p", { class: "small" }, `confidence ${fixed(cluster.confidence)}`),
      arrival === null ? null : arrivalNote(arrival)),
    h("div", { class: "pics", role: "img", "aria-label": `${plural(examples.length, inWords`example image`)} of ${titleOf(cluster)}, surest first` }, examples.map((i) => imagePicture(i, size))),
    h("div", { class: "made" }, h("div", { class: "pics", role: "img", "aria-label": `${plural(made.length, inWords`generated image`)} of ${titleOf(cluster)}` }, made)));
}
