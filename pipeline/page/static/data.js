// The data of the page: unpacked arrays, and clusters as published joined with what stage report says of them.

const D = JSON.parse(document.getElementById("data").textContent);

// What people call one input: features that were made here are of images, others are rows of a table.
const noun = D.model.input.kind === "features" && !D.model.input.embedder ? "row" : "image";

// The page's own words, written about images, about rows where these are shown; what is put in stays as it is.
const inWords = (parts, ...values) => String.raw({ raw: parts.map(ofRows) }, ...values);

function ofRows(text) {
  if (noun === "image") return text;
  return text.replace(/\b([Aa])n image/g, "$1 row").replace(/(?<!table )\b([Ii])mage/g, (_, first) => (first === "I" ? "Row" : "row"));
}

function bytes(base64) {
  const text = atob(base64), out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, int32: Int32Array, float32: Float32Array };

function unpack(packed) {
  const raw = new ARRAYS[packed.dtype](bytes(packed.base64).buffer);
  if (packed.scale === undefined) return raw;
  const out = new Float32Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw[i] * packed.scale;
  return out;
}

const images = {
  ids: D.images.ids,
  isTest: unpack(D.images.is_test),
  isSampled: unpack(D.images.is_sampled),
  labels: Object.fromEntries(Object.entries(D.images.labels).map(([name, packed]) => [name, unpack(packed)])),
};
const nearestPlaces = D.nearest ? unpack(D.nearest.generated) : null;
const isShown = (index) => typeof images.ids[index] === "string";
const nImages = sum(D.batches.filter((b) => b.status !== "removed").map((b) => b.n_images)) || D.n_train + D.n_test;

const facets = D.facets.map((facet, j) => ({
  ...facet,
  index: j,
  tone: `f${j % 6}`,
  label: D.facets.length === 1 ? "The facet" : `Facet ${j}`,
  pool: Object.fromEntries(Object.entries(facet.pool).map(([name, packed]) => [name, packed && unpack(packed)])),
  clusters: range(facet.n_components).map((id) => ({ facet: j, id, size: facet.sizes[id],
    confidence: facet.mean_confidence[id], weight: null, uid: null, name: null, note: null, mintedBy: null, group: null })),
}));
for (const row of D.clusters) {
  Object.assign(facets[row.facet].clusters[row.cluster_id], { uid: row.cluster_uid, name: row.name, note: row.note,
    size: row.size, confidence: row.mean_confidence, weight: row.mixing_weight, mintedBy: row.minted_by,
    group: row.group_uid === null ? null : { uid: row.group_uid, title: row.group_name || row.group_uid } });
}
for (const facet of facets) {
  facet.used = facet.clusters.filter((cluster) => cluster.size > 0);
  facet.total = sum(facet.used.map((cluster) => cluster.size));
  facet.groups = groupsOf(facet);
  facet.members = facet.clusters.map(() => []);
  for (let i = 0; i < images.ids.length; i++) if (isShown(i)) facet.members[facet.pool.cluster_id[i]].push(i);
}
// The groups of a facet, the largest first, each with its clusters likewise; none where nothing is joined.
function groupsOf(facet) {
  const found = new Map();
  for (const cluster of facet.used) if (cluster.group) found.set(cluster.group.uid, [...(found.get(cluster.group.uid) ?? []), cluster]);
  if (found.size < 2 || found.size === facet.used.length) return [];
  const groups = [...found.values()].map((clusters) => ({ ...clusters[0].group, size: sum(clusters.map((c) => c.size)), clusters: clusters.sort((a, b) => b.size - a.size) }));
  return groups.sort((a, b) => b.size - a.size);
}

const crosses = D.crosses.map((cross) => ({ ...cross, counts: unpack(cross.counts), examples: unpack(cross.examples) }));

const titleOf = (cluster) => cluster.name || cluster.uid || `component ${cluster.id}`;
const shortOf = (cluster) => cluster.name || String(cluster.id);
const share = (cluster) => cluster.size / (facets[cluster.facet].total || 1);
const clusterOf = (facet, index) => facet.clusters[facet.pool.cluster_id[index]];

// How sure an image's cluster is and, where clusters are joined, its group: clusters of one group share what is alike.
function surenessOf(facet, index) {
  const { confidence, group_confidence: ofGroup } = facet.pool;
  return `confidence ${fixed(confidence[index])}${facet.groups.length && ofGroup ? `, of its group ${fixed(ofGroup[index])}` : ""}`;
}

function faceOf(cluster) {
  const facet = facets[cluster.facet];
  const found = facet.examples[cluster.id].find(isShown) ?? facet.members[cluster.id][0];
  return found ?? -1;
}

const isKnown = (batch) => ["source", "joined"].includes(batch.status);
const laterBatches = D.batches.filter((batch) => batch.status === "live");
const nLater = sum(laterBatches.map((batch) => batch.n_images));

// What part of some batches lies in a cluster; null where they hold nothing.
function partOf(cluster, batches) {
  const sizes = batches.filter((batch) => batch.sizes).map((batch) => batch.sizes[cluster.facet]), total = sum(sizes.map(sum));
  return total ? sum(sizes.map((each) => each[cluster.id])) / total : null;
}

// The part of images that came later which lies in a cluster, that of the images the model knows, and whether the two differ
// by more than chance explains; null without either.
function arrivalOf(cluster, later = laterBatches, shifted = D.shifted) {
  const known = partOf(cluster, D.batches.filter((batch) => isKnown(batch) && !later.includes(batch))), arrived = partOf(cluster, later);
  if (known === null || arrived === null) return null;
  return { known, arrived, isShifted: shifted[cluster.facet].includes(cluster.id) };
}

// The pictures nearest to one in a facet's latents, or in those of all facets together.
function nearest(index, shown, n) {
  const distances = [];
  for (let i = 0; i < images.ids.length; i++) {
    if (i === index || !isShown(i)) continue;
    let distance = 0;
    for (const facet of shown) {
      const z = facet.pool.latents, d = facet.latent_dim;
      for (let k = 0; k < d; k++) distance += (z[i * d + k] - z[index * d + k]) ** 2;
    }
    distances.push([distance, i]);
  }
  return distances.sort((a, b) => a[0] - b[0]).slice(0, n).map((pair) => pair[1]);
}
