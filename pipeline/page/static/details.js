// The sheet with the details of a cluster, an image, or a cell of the cross-table.

const dialog = document.getElementById("details");

function openDetails(code) {
  const [kind, ...numbers] = code.split(":"), args = numbers.map(Number);
  const content = { cluster: clusterDetails, image: imageDetails, cell: cellDetails }[kind]?.(...args);
  if (!content) return closeDetails();
  dialog.replaceChildren(h("div", { class: "sheet" }, content));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  dialog.querySelector("#details-title").focus();
}

function closeDetails() {
  if (dialog.open) dialog.close();
  hideHover();
}

function sheetBar(...controls) {
  return h("div", { class: "sheet-bar" }, controls, h("span", { class: "grow" }),
    h("button", { type: "button", class: "button", onclick: () => show(null) }, "Close"));
}

const section = (title, ...content) => h("section", {}, h("h3", {}, title), content);
const sheetTitle = (text) => h("h2", { id: "details-title", tabindex: "-1" }, text);
const pictureSize = () => niceSize("images", 44);

function clusterDetails(j, id) {
  const facet = facets[j], cluster = facet?.clusters[id];
  if (!cluster) return null;
  const size = pictureSize(), examples = facet.examples[id].filter(isShown);
  const random = facet.members[id].filter((i) => images.isSampled[i] && !examples.includes(i)).slice(0, 24);
  const made = range(facet.generated).map((n) => picture("generated", facet.generated_from + id * facet.generated + n, size));
  const arrival = arrivalOf(cluster);
  return [
    clusterBar(facet, cluster),
    h("header", { class: `sheet-head ${facet.tone}` }, h("span", { class: "ringed" }, imagePicture(faceOf(cluster), niceSize("images", 84))),
      h("div", {}, facetName(facet), sheetTitle(titleOf(cluster)), h("p", { class: "small" }, [cluster.name ? cluster.uid : null, cluster.group ? `in group ${cluster.group.title}` : null, `component ${id}`, cluster.mintedBy ? `first in ${cluster.mintedBy}` : null].filter(Boolean).join(" · ")),
        cluster.note ? h("p", {}, cluster.note) : null)),
    h("dl", { class: "stats" }, stat(inWords`Images`, count(cluster.size), `${percent(share(cluster))} of all`), stat("Confidence", fixed(cluster.confidence)),
      cluster.weight === null ? null : stat("Weight in the model", percent(cluster.weight), "of its facet's")),
    arrival === null ? null : arrivalNote(arrival),
    isFiltered() ? wantedSection(facet, id, size) : null,
    cluster.size ? section(inWords`Surest images`, imageButtons(examples, size, facet, inWords`Surest images`)) : emptyNote(inWords`No image lies in this component. The model keeps it, the tables do not list it.`),
    random.length ? section("Drawn at random", imageButtons(random, size, facet, inWords`Images drawn at random`)) : null,
    cluster.size && facet.n_components > 1 ? section("Least sure", imageButtons(facet.borderline[id], size, facet, inWords`Least sure images`)) : null,
    section(`${D.nearest ? inWords`Real images of any cluster, nearest to what the model makes up` : "Made up by the model"} at temperature ${D.temperature}`, h("div", { class: "pics", role: "img", "aria-label": plural(made.length, inWords`generated image`) }, made), strangersNote(facet, id)),
    cluster.size ? section(`Confidence of its ${plural(sum(facet.histogram[id]), inWords`training or test image`)}`, confidenceBars(facet, id)) : null,
    labelShares(facet, id),
    cluster.size ? facets.filter((other) => other !== facet).map((other) => otherFacet(facet, cluster, other)) : null,
    facet.neighbours[id].length ? section("Nearest clusters", h("div", { class: "row" }, facet.neighbours[id].map((n) => chip(facet.clusters[n], plural(facet.clusters[n].size, noun))))) : null,
    lineageOf(cluster),
    cluster.uid ? section("Give it a name", h("pre", { tabindex: 0, "aria-label": "Command" }, h("code", {}, `facets name ${D.published.experiment} ${cluster.uid} "…"${cluster.group ? `\nfacets name ${D.published.experiment} ${cluster.group.uid} "…"  # its group` : ""}`))) : null,
  ];
}

// What is made up are features: their nearest images need not be of the cluster that they were drawn from.
function strangersNote(facet, id) {
  if (!D.nearest) return null;
  const first = facet.generated_from + id * facet.generated, places = nearestPlaces.slice(first, first + facet.generated);
  const n = places.filter((place) => facet.pool.cluster_id[place] !== id).length;
  return n ? h("p", { class: "note" }, inWords`${count(n)} of these ${count(places.length)} images ${n === 1 ? "lies" : "lie"} in other clusters, as no image of this one on the page is nearer: they do not show what it holds.`) : null;
}

function wantedSection(facet, id, size) {
  const found = wantedMembers(facet, id);
  return found.length ? section(["With “", fileName(visible(fileFilter.text.trim())), "” in their path"], imageButtons(found.slice(0, 96), size, facet, inWords`Images of the wanted files`)) : null;
}

function clusterBar(facet, cluster) {
  const order = ORDERS[orderOf(facet)][1](facet).filter((id) => facet.clusters[id].size > 0), here = order.indexOf(cluster.id);
  const step = (by, text) => {
    const next = order[here + by];
    return h("button", { type: "button", class: "button", disabled: here < 0 || next === undefined, "data-step": by, onclick: () => show(`cluster:${facet.index}:${next}`) }, text);
  };
  return sheetBar(step(-1, "Previous"), step(1, "Next"));
}

function confidenceBars(facet, id) {
  const bins = facet.histogram[id], most = Math.max(1, ...bins);
  const text = bins.map((n, k) => (n ? `${k / 10} to ${(k + 1) / 10}: ${n}` : null)).filter(Boolean).join(", ");
  return [h("div", { class: `bars ${facet.tone}`, role: "img", "aria-label": inWords`Images by confidence: ${text}` }, bins.map((n) => h("i", { style: { height: `${100 * n / most}%`, opacity: n ? 1 : 0.25 }, "data-tip": plural(n, noun) }))),
    h("div", { class: "axis", "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, "0.5"), h("span", {}, "1"))];
}

function shareRow(label, fraction, tone) {
  return h("li", { class: tone }, label, meter(fraction), h("span", {}, percent(fraction)));
}

function labelShares(facet, id) {
  return Object.entries(facet.label_counts).map(([factor, counts]) => {
    const total = sum(counts[id]);
    if (!total) return null;
    const values = D.label_values[factor].map((value, k) => [counts[id][k] / total, value]).sort((a, b) => b[0] - a[0]).filter(([part]) => part > 0.005).slice(0, 5);
    return section(`Label ${factor} of ${plural(total, inWords`labelled image`)} in it (never used in training)`, h("ul", { class: "shares" }, values.map(([part, value]) => shareRow(`${factor} ${value}`, part, facet.tone))));
  });
}

// Where the images of a cluster lie in another facet, beside what is usual there.
function otherFacet(facet, cluster, other) {
  const cross = crosses.find((c) => c.first === Math.min(facet.index, other.index) && c.second === Math.max(facet.index, other.index));
  const view = crossView(cross, facet.index > other.index), total = sum(other.clusters.map((c) => view.count(cluster.id, c.id)));
  if (!total) return null;
  const rows = other.clusters.map((c) => [view.count(cluster.id, c.id) / total, c]).sort((a, b) => b[0] - a[0]).slice(0, 6).filter(([part]) => part > 0);
  return section([inWords`Its images in `, facetName(other)], h("div", { class: "row" }, rows.map(([part, c]) => chip(c, `${percent(part)} of them, ${percent(share(c))} of all`))));
}

function lineageOf(cluster) {
  const rows = D.lineage.filter((row) => row.new_uid === cluster.uid || row.old_uid === cluster.uid);
  if (!rows.length) return null;
  return section("History", h("ul", {}, rows.map((row) => h("li", { class: "small" }, `${row.kind}: ${row.old_uid} → ${row.new_uid}, ${plural(row.overlap, noun)}`))));
}

function imageDetails(index) {
  if (!isShown(index)) return null;
  const labels = Object.entries(images.labels).filter(([, values]) => values[index] >= 0).map(([name, values]) => `${name} ${values[index]}`);
  return [
    sheetBar(h("span", { class: "small" }, images.isTest[index] ? inWords`test image` : inWords`training image`)),
    h("header", { class: "sheet-head of-image" }, imagePicture(index, niceSize("images", 200)),
      h("div", { class: "stack", style: { gap: "6px" } }, sheetTitle(inWords`Image`), fileFacts(index), h("p", { class: "mono small" }, images.ids[index]), labels.length ? h("p", { class: "small" }, `Labels: ${labels.join(", ")}`) : null)),
    ...facets.map((facet) => placeIn(facet, index)),
    ...facets.map((facet) => section(["Alike in ", facetName(facet)], imageButtons(nearest(index, [facet], 12), pictureSize(), facet, inWords`Images alike in ${facet.label}`))),
    facets.length > 1 ? section("Alike in everything", imageButtons(nearest(index, facets, 12), pictureSize(), null, inWords`Images alike in all facets`)) : null,
  ];
}

function placeIn(facet, index) {
  const { pool } = facet, other = facet.clusters[pool.runner_up[index]];
  return h("section", { class: facet.tone }, h("h3", {}, facetName(facet)),
    h("div", { class: "row" }, chip(clusterOf(facet, index), surenessOf(facet, index)),
      other && pool.runner_up_confidence[index] > 0.005 ? chip(other, `runner-up, ${fixed(pool.runner_up_confidence[index])}`) : null),
    h("p", { class: "small" }, `Typicality ${fixed(pool.typicality[index], 1)} nats: ${rarity(facet, index)}.`));
}

function rarity(facet, index) {
  const sampled = range(images.ids.length).filter((i) => images.isSampled[i] && isShown(i));
  const below = sampled.filter((i) => facet.pool.typicality[i] < facet.pool.typicality[index]).length / (sampled.length || 1);
  return inWords`more usual than ${percent(below, 0)} of the training and test images`;
}

function cellDetails(first, second, row, column) {
  const [a, b] = [facets[first], facets[second]];
  const cross = crosses.find((c) => c.first === Math.min(first, second) && c.second === Math.max(first, second));
  if (!cross) return null;
  const view = crossView(cross, first > second);
  if (!view.rowIds.includes(row) || !view.columnIds.includes(column)) return null;
  const n = view.count(row, column), size = pictureSize();
  const [mine, theirs] = [a.clusters[row], b.clusters[column]];
  const none = n ? `${plural(n, noun)} came later and ${n === 1 ? "lies" : "lie"} here; this page shows none of them.` : inWords`No image combines these two clusters.`;
  const expected = (mine.size * theirs.size) / (a.total || 1), shown = a.members[row].filter((i) => b.pool.cluster_id[i] === column);
  return [
    sheetBar(),
    h("header", { class: "sheet-head" }, h("div", { class: "stack" }, sheetTitle("One cell"), h("div", { class: "row" }, chip(mine, a.label), h("span", { "aria-hidden": "true" }, "×"), chip(theirs, b.label)))),
    h("dl", { class: "stats" }, stat(inWords`Images`, count(n)), stat("Expected if the facets ignored each other", fixed(expected, expected < 10 ? 1 : 0))),
    shown.length ? section(n > shown.length ? inWords`${shown.length} of its images` : inWords`Its images`, imageButtons(shown.slice(0, 96), size, a, inWords`Images of the cell`)) : emptyNote(none),
    section(D.nearest ? inWords`The real image nearest to what the model imagines` : "As the model imagines it", picture("imagined", view.imagined(row, column), niceSize("images", 120), { role: "img", "aria-label": D.nearest ? "Nearest to both cluster means" : "Decoded from both cluster means" })),
  ];
}
