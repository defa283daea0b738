// What was found, at a glance.

const LEAST_REDRAWN = 0.5;
const AGREE_WELL = 0.7;  // adjusted Rand index

function overviewPanel() {
  const total = facets[0]?.total || nImages;
  const ways = facets.length === 1 ? "sorted one way" : `seen ${facets.length} ways`;
  const story = facets.length === 1
    ? inWords`Without any labels, one clustering was found in these images. Every image has a place in it, with a confidence.`
    : inWords`Without any labels, ${facets.length} separate clusterings were found in the same images. Each one, a facet, answers a question of its own, and every image has a place in all of them.`;
  return [
    h("section", { class: "hero" },
      h("div", { class: "stack" },
        h("h1", { tabindex: "-1" }, `${plural(total, noun)}, ${ways}`),
        h("p", { class: "lead" }, story),
        h("div", { class: "row" },
          h("a", { class: "button strong", href: crosses.length ? "#/cross/0/1" : "#/clusters/0" }, crosses.length ? "See the facets against each other" : "Look at the clusters"),
          h("a", { class: "button", href: "#/map/0" }, "Open the map"))),
      crosses.length ? teaser(crosses[0]) : null),
    asideNote(),
    redrawnNote(),
    h("section", { class: "columns", "aria-label": "Facets" }, facets.map(facetCard)),
    h("section", { class: "columns" }, dependenceCard(), modelCard()),
  ];
}

// A corner of the cross-table: the biggest clusters of both facets.
function teaser(cross) {
  const [first, second] = [facets[cross.first], facets[cross.second]];
  const nRows = Math.min(6, cross.row_ids.length), nColumns = Math.min(8, cross.column_ids.length), size = niceSize("images", 34);
  const isCut = nRows < first.used.length || nColumns < second.used.length;
  const grid = h("div", { class: "teaser-grid", style: { "grid-template-columns": `repeat(${nColumns}, auto)` } },
    range(nRows).map((r) => range(nColumns).map((c) => {
      const example = cross.examples[r * cross.column_ids.length + c];
      return isShown(example) ? picture("images", example, size)
        : picture("imagined", cross.imagined_from + r * cross.column_ids.length + c, size, { style: { opacity: 0.4 } });
    })));
  return h("a", { class: "teaser", href: `#/cross/${cross.first}/${cross.second}`,
    "aria-label": `Cross-table of ${first.label} and ${second.label}` },
    h("span", { class: `teaser-axis facet-name ${second.tone}` }, `${second.label} →`),
    h("span", { class: "teaser-body" }, h("span", { class: `teaser-axis facet-name ${first.tone}` }, `← ${first.label}`), grid),
    isCut ? h("span", { class: "small" }, `The ${nRows} largest of ${first.used.length} by the ${nColumns} largest of ${second.used.length} clusters`) : null);
}

function facetCard(facet) {
  const largest = Math.max(0, ...facet.used.map(share));
  const confidence = sum(facet.used.map((c) => c.size * (c.confidence ?? 0))) / (facet.total || 1);
  return h("article", { class: `card stack ${facet.tone}` },
    h("div", { class: "row" }, h("h2", {}, facetName(facet)), depthNote(facet), h("span", { class: "grow" }),
      h("a", { class: "button", href: `#/clusters/${facet.index}`, "aria-label": `Clusters of ${facet.label}` }, "Clusters")),
    skyline(facet),
    h("dl", { class: "stats" },
      stat("In use", facet.used.length, `of ${plural(facet.n_components, "cluster")}`),
      stat("Largest", percent(largest), "of all"),
      stat("Confidence", fixed(confidence)),
      stat("Dimensions", facet.latent_dim)),
    ignoredNote(facet),
    groupNote(facet),
    helpNote(facet),
    labelNote(facet));
}

// What a person told the training that this facet must not depend on.
function ignoredNote(facet) {
  const words = D.ignored[facet.index] ?? [];
  return words.length ? h("p", { class: "note" }, h("b", {}, "It was trained not to see:"), ` ${words.join("; ")}.`) : null;
}

// Whether clusters are kinds that a person would name, or regions of a cloud without gaps.
function groupNote(facet) {
  if (D.groups === null) return null;
  const found = D.groups.facets[facet.index], isAlone = D.groups.compared_with === "itself";
  const others = isAlone ? "Refits of its own mixture" : "Other trainings";
  // Trainings that begin on the same clusters may end on them, too, though nothing parts what lies on either side.
  const where = found.reproducibility >= AGREE_WELL ? "in the same places, though no gap is there" : "elsewhere";
  const agreed = found.reproducibility === null ? "" : ` Their clusters agree with each other by ${fixed(found.reproducibility)}, where 1 is the same and 0 is chance.`;
  const said = found.n_groups === 1
    ? [h("b", {}, "A continuum, cut into regions."), ` ${others} cut it ${where}: its clusters are stretches of something gradual, not kinds.${agreed}`]
    : [h("b", {}, `${count(facet.used.length)} clusters, ${plural(found.n_groups, "group")}.`), ` ${others} tell these groups apart, too; within a group they draw the lines elsewhere.${agreed}`];
  return h("p", { class: "note" }, said);
}

// That people had told the model what the facet is about, and what it made of that.
function helpNote(facet) {
  const said = D.help[facet.index];
  return said === null ? null : h("p", { class: "note" }, h("b", {}, "With help."), ` ${said}`);
}

function depthNote(facet) {
  if (facets.length === 1) return null;
  const text = facet.index === 0 ? "shallowest" : facet.index === facets.length - 1 ? "deepest" : "";
  return text ? h("span", { class: "small" }, text) : null;
}

// Sizes as a skyline with a face under every bar.
function skyline(facet) {
  if (!facet.used.length) return emptyNote(inWords`No image lies in this facet.`);
  const sorted = [...facet.used].sort((a, b) => b.size - a.size), shown = sorted.slice(0, 24), most = shown[0].size;
  const room = Math.min(420, document.getElementById("main").clientWidth - 40) / shown.length;
  const size = Math.min(niceSize("images", 24), Math.floor(room) - 3);
  return h("figure", { class: "stack", style: { gap: "6px" } },
    h("div", { class: "skyline", role: "group", "aria-label": `Cluster sizes of ${facet.label}` }, shown.map((cluster) =>
      h("a", { href: clusterHref(cluster), "aria-label": `${titleOf(cluster)}: ${plural(cluster.size, noun)}`, "data-tip": `${titleOf(cluster)} · ${plural(cluster.size, noun)} · ${percent(share(cluster))}` },
        h("i", { style: { height: `${Math.round(64 * cluster.size / most)}px` } }), imagePicture(faceOf(cluster), size)))),
    sorted.length > shown.length ? h("figcaption", { class: "small" }, `The ${shown.length} largest of ${sorted.length} clusters`) : null);
}

function labelNote(facet) {
  const rows = D.scores.filter((row) => row.facet === facet.index && row.scores.accuracy);
  if (!rows.length) return null;
  const gain = (row) => row.scores.accuracy.selected - row.scores.accuracy.chance;
  const best = [...rows].sort((a, b) => gain(b) - gain(a))[0], score = best.scores.accuracy;
  const verdict = gain(best) > 0.15 ? "Follows the label" : "Follows no label; closest is";
  return h("p", { class: "note" }, `${verdict} `, h("b", {}, best.factor), `: accuracy ${fixed(score.selected)}, where chance gives ${fixed(score.chance)}. Labels were only used to measure this.`);
}

// The part of what two facets share that clusterings of these sizes would share by chance.
function chanceShare(pair) {
  return pair.mutual_information > 0 ? pair.normalised * Math.min(1, pair.chance / pair.mutual_information) : 0;
}

// What the shared part means, adjusted for chance as an adjusted index is.
function dependenceWords(pair) {
  const chance = chanceShare(pair), beyond = (pair.normalised - chance) / Math.max(1 - chance, 1e-9);
  return beyond > 0.5 ? "mostly repeat each other" : beyond > 0.2 ? "partly repeat each other" : inWords`sort the images in different ways`;
}

const sharedWords = (pair) => `They share ${percent(pair.normalised)} of their information; ${percent(chanceShare(pair))} would be shared by chance. Counted over ${plural(pair.images, inWords`published image`)}`;

function dependenceCard() {
  if (facets.length === 1) {
    return h("article", { class: "card stack" }, h("h2", {}, "One facet"), h("p", { class: "note" },
      "This model has a single facet, so there is nothing to compare it with. More facets come with longer lists in model.latent_dims and model.n_components."));
  }
  return h("article", { class: "card stack" }, h("h2", {}, "How separate the facets are"),
    h("p", { class: "note" }, inWords`How much the cluster in one facet tells about the cluster in the other: 0\u00a0% means they ask wholly different questions, 100\u00a0% that they are the same clustering. The fewer images a cell has, the more comes by chance.`),
    D.dependence.map((pair) => h("div", { class: "stack", style: { gap: "5px" } },
      h("div", { class: "row" }, facetName(facets[pair.first]), h("span", { class: "small" }, "and"), facetName(facets[pair.second])),
      h("p", {}, h("b", {}, `These two facets ${dependenceWords(pair)}.`)), meter(pair.normalised),
      h("p", { class: "small" }, `${sharedWords(pair)}.`))),
    exchangeTable());
}

// What the model reads in the compositions of the panel Compose, counted over all pairs of its images.
function exchangeTable() {
  if (!D.swaps) return null;
  const found = swapReadings(), anchors = range(D.swaps.anchors.length).filter((n) => isShown(D.swaps.anchors[n]));
  const own = (facet, n) => facet.pool.cluster_id[D.swaps.anchors[n]];
  const rows = facets.map((facet) => {
    const pairs = anchors.flatMap((a) => anchors.map((b) => [a, b])).filter(([a, b]) => own(facet, a) !== own(facet, b));
    const read = ([a, b], other) => found[swapIndex(facet.index, a, b) * facets.length + other.index];
    const arrived = pairs.filter((pair) => read(pair, facet) === own(facet, pair[1])).length;
    const kept = facets.filter((other) => other !== facet).map((other) => pairs.filter((pair) => read(pair, other) === own(other, pair[0])).length);
    return pairs.length ? [facetName(facet), percent(arrived / pairs.length, 0), percent(sum(kept) / (pairs.length * kept.length), 0)] : null;
  }).filter(Boolean);
  if (!rows.length) return null;
  return h("div", { class: "stack", style: { gap: "6px" } },
    h("p", { class: "note" }, inWords`The model takes one facet of an image from another image, draws the result and reads it again:`),
    sortTable([["Facet taken"], ["It arrives", "number"], ["The others stay", "number"]], rows));
}

// A model that redraws little makes up images that show little.
function redrawnNote() {
  if (D.redrawn === null || D.redrawn >= LEAST_REDRAWN) return null;
  return h("p", { class: "notice" }, h("b", {}, inWords`The model redraws ${percent(Math.max(0, D.redrawn))} of what differs between images`),
    inWords` (the variance of their ${D.nearest ? "features" : "pixels"}, on test images). What it makes up, imagines or composes ${D.nearest ? "" : "is blurred and "}lacks the rest: judge a cluster by its real images.`);
}

function modelCard() {
  const certainties = (seed) => seed.facets.map((facet) => (facet.certainty === null ? "–" : percent(facet.certainty, 1))).join(" · "); // models of earlier releases have none
  return h("article", { class: "card stack" }, h("h2", {}, "The model in service"),
    h("p", { class: "note" }, inWords`Seed ${D.model.selected_seed} was selected, without labels: ${ofRows(D.model.selection.reason)}. Certainty is the part of what a facet's clusters could tell of an image that they tell without doubt.`,
      D.redrawn === null || D.redrawn < LEAST_REDRAWN ? null : inWords` Of what differs between test images (the variance of their ${D.nearest ? "features" : "pixels"}) the model redraws ${percent(D.redrawn)}.`),
    sortTable([["Seed"], ["Certainty by facet", "number"], ["Health"]], D.model.seeds.map((seed) => [
      h("span", {}, String(seed.seed), seed.seed === D.model.selected_seed ? h("span", { class: "pill good", style: { "margin-left": "8px" } }, "selected") : null),
      certainties(seed) || "–",
      seed.healthy ? h("span", { class: "pill good" }, "healthy") : h("span", { class: "pill bad" }, "unhealthy"),
    ])),
    // Below the table, whose cells do not wrap: a card is narrower than a reason is long.
    D.model.seeds.filter((seed) => !seed.healthy && seed.reason).map((seed) => h("p", { class: "note" }, h("b", {}, `Seed ${seed.seed}`), ` is unhealthy: ${ofRows(seed.reason)}`)));
}
