// The tree of a facet's clusters: which join first, because other trainings do not tell them apart, and where it is cut.

const LEAF_HEIGHT = 34;

function treeCard(facet) {
  const found = D.groups?.facets[facet.index];
  if (!found || facet.used.length < 3) return null;
  const tree = laidOut(facet, found);
  return h("details", { class: `card tree ${facet.tone}` },
    h("summary", {}, "How clusters join: the tree"),
    h("p", { class: "note" }, `Read it from left to right. Clusters that meet early are told apart by ${D.groups.compared_with === "itself" ? "no refit of the mixture" : "no other training"}; what meets at the right edge, by all. `
      + (found.n_groups === 1 ? "No division is confirmed: everything is one group." : `The dashed line cuts it into the ${found.n_groups} groups of the tables. Table “merges” has every other cut.`)),
    h("div", { class: "tree-body" },
      h("ol", { class: "tree-leaves" }, tree.leaves.map((cluster) => h("li", {},
        imagePicture(faceOf(cluster), LEAF_HEIGHT - 8), h("a", { href: clusterHref(cluster) }, titleOf(cluster))))),
      h("figure", {}, treeDrawing(tree), h("figcaption", { class: "small" }, h("span", {}, "told apart by none"), h("span", {}, "by all")))));
}

// Leaves from top to bottom, groups one after the other, and the joins among clusters in use, each {x, of: two heights and where they start}.
function laidOut(facet, { tree, n_groups }) {
  const K = facet.clusters.length, nMade = K - n_groups;
  const nodes = facet.clusters.map((cluster) => (cluster.size ? { leaves: [cluster], x: 0, joins: [] } : null));
  tree.merges.forEach(([one, other], step) => {
    const parts = [nodes[one], nodes[other]].filter(Boolean).sort((a, b) => sizeOf(b) - sizeOf(a));
    const joined = { x: tree.confirmed[step], isMade: step < nMade, parts };
    nodes.push(parts.length < 2 ? parts[0] ?? null : { leaves: parts.flatMap((part) => part.leaves), x: joined.x, joins: [...parts.flatMap((part) => part.joins), joined] });
  });
  const { leaves, joins } = nodes.at(-1);
  const cut = n_groups === 1 ? null : ((tree.confirmed[nMade - 1] ?? 0) + tree.confirmed[nMade]) / 2;
  return { leaves, joins, cut };
}

const sizeOf = (node) => sum(node.leaves.map((cluster) => cluster.size));

function treeDrawing({ leaves, joins, cut }) {
  const height = leaves.length * LEAF_HEIGHT, row = new Map(leaves.map((cluster, n) => [cluster, (n + 0.5) * LEAF_HEIGHT]));
  const at = (x) => 1 + 97 * x;
  const middle = (node) => { const last = node.joins.at(-1); return last ? sum(last.parts.map(middle)) / 2 : row.get(node.leaves[0]); };
  const bracket = ({ x, isMade, parts: [one, other] }) => svg("path", { class: isMade ? "made" : "apart",
    d: `M${at(one.x)} ${middle(one)}H${at(x)}V${middle(other)}H${at(other.x)}`, "vector-effect": "non-scaling-stroke" });
  return svg("svg", { viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", height, role: "img",
    "aria-label": `Tree of ${plural(leaves.length, "cluster")}` },
    cut === null ? null : svg("path", { class: "cut", d: `M${at(cut)} 0V${height}`, "vector-effect": "non-scaling-stroke" }),
    joins.map(bracket));
}
