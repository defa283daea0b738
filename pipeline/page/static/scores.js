// Scores against labels, beside chance and clusterings of raw pixels.

const scoreState = { metric: "accuracy" };

const METRICS = {
  accuracy: ["Accuracy", inWords`clusters named by majority on the training images, counted on test images`],
  accuracy_same_split: ["Accuracy, same split", inWords`clusters named and counted on the test images`],
  accuracy_paper: ["Accuracy, as in the paper", inWords`clusters read off at the middle of each image's latent, named and counted on the test images`],
  hungarian: ["Accuracy, one to one", inWords`every class matched to one cluster; images of other clusters count as wrong`],
  nmi: ["NMI", "normalised mutual information with the label"],
  ari: ["ARI", "adjusted Rand index"],
};
const METHODS = { kmeans: "k-means on pixels", mixture: "Gaussian mixture on pixels" };

function scoresPanel() {
  const intro = heading("Scores", "How well each facet agrees with labels that it never saw, beside chance and clusterings of the raw pixels with as many clusters. A facet with another question scores low on a label, as it should.");
  if (!D.scores.length) return [intro, emptyNote(inWords`These images have no labels, so there is nothing to score against. Everything else on this page needs none.`)];
  const metrics = Object.keys(METRICS).filter((metric) => D.scores.some((row) => row.scores[metric]));
  const place = h("div", { class: "stack", style: { gap: "20px" } });
  const draw = () => place.replaceChildren(...scoreCards());
  draw();
  return [intro, h("div", { class: "row" }, segments("Score", metrics.map((metric) => [metric, METRICS[metric][0]]), scoreState.metric, (metric) => { scoreState.metric = metric; draw(); })), place];
}

function scoreCards() {
  const rows = D.scores.filter((row) => row.scores[scoreState.metric]);
  const factors = [...new Set(rows.map((row) => row.factor))];
  return [h("p", { class: "note" }, `${METRICS[scoreState.metric][0]}: ${METRICS[scoreState.metric][1]}.`),
    ...factors.map((factor) => scoreCard(factor, rows.filter((row) => row.factor === factor)))];
}

function scoreCard(factor, rows) {
  return h("section", { class: "card stack" },
    h("div", { class: "row" }, h("h2", {}, `Label: ${factor}`), h("span", { class: "small" }, plural(rows[0].n_classes, "class", "classes"))),
    scoreChart(factor, rows), scoreTable(rows), overKmeans(follower(rows)));
}

// The facet that follows a label best; to the others the label is not their question.
function follower(rows) {
  return [...rows].sort((a, b) => b.scores[scoreState.metric].selected - a.scores[scoreState.metric].selected)[0];
}

function scoreChart(factor, rows) {
  const scores = rows.map((row) => row.scores[scoreState.metric]), names = rows.map((row) => facets[row.facet].label);
  const seeds = scores.flatMap((score, n) => Object.entries(score.by_seed).map(([seed, value]) => [value, names[n], `seed ${seed}`]));
  const hasChance = scores.some((score) => score.chance !== null && score.chance !== undefined);
  const traces = (colour) => [
    { x: seeds.map((s) => s[0]), y: seeds.map((s) => s[1]), text: seeds.map((s) => s[2]), name: "every seed", mode: "markers", marker: { size: 8, color: colour("--line-strong"), opacity: 0.8 }, hovertemplate: "%{text}: %{x:.3f}<extra></extra>" },
    { x: scores.map((s) => s.mean), y: names, name: "mean ± std of seeds", mode: "markers", marker: { size: 13, symbol: "line-ns-open", line: { width: 3 }, color: rows.map((r) => colour(`--facet-${r.facet % 6}`)) },
      error_x: { type: "data", array: scores.map((s) => s.std), thickness: 2, width: 6, color: colour("--soft") }, hovertemplate: "mean %{x:.3f}<extra></extra>" },
    { x: scores.map((s) => s.selected), y: names, name: "in service", mode: "markers", marker: { size: 14, symbol: "diamond", color: rows.map((r) => colour(`--facet-${r.facet % 6}`)) }, hovertemplate: "in service %{x:.3f}<extra></extra>" },
    ...Object.entries(METHODS).filter(([method]) => method in scores[0].baselines).map(([method, name], n) => ({ x: scores.map((s) => s.baselines[method]), y: names, name, mode: "markers",
      marker: { size: 12, symbol: n ? "square-open" : "x-thin-open", line: { width: 2.4 }, color: colour("--ink") }, hovertemplate: `${name} %{x:.3f}<extra></extra>` })),
    ...(hasChance ? [{ x: scores.map((s) => s.chance), y: names, name: "chance", mode: "markers", marker: { size: 22, symbol: "line-ns-open", line: { width: 2 }, color: colour("--bad") }, hovertemplate: "chance %{x:.3f}<extra></extra>" }] : []),
  ];
  // A bar of mean ± std may go beyond any score that there can be.
  const ends = [...seeds.map((s) => s[0]), ...scores.flatMap((s) => [s.mean - (s.std ?? 0), s.mean + (s.std ?? 0)])];
  const layout = { height: 130 + 64 * rows.length, margin: { l: 80, r: 16, t: 12, b: 40 }, xaxis: { range: [Math.min(0, ...ends) - 0.02, Math.max(1, ...ends) + 0.02] },
    yaxis: { autorange: "reversed", type: "category" } };
  return chart(`${METRICS[scoreState.metric][0]} on ${factor} by facet, with baselines and chance; the table below has the numbers`, traces, layout);
}

function scoreTable(rows) {
  const methods = Object.entries(METHODS).filter(([method]) => method in rows[0].scores[scoreState.metric].baselines);
  return sortTable([["Facet"], ["In service", "number"], ["Seeds, mean ± std", "number"], ...methods.map(([, name]) => [name, "number"]), ["Chance", "number"]],
    rows.map((row) => {
      const score = row.scores[scoreState.metric];
      return [facetName(facets[row.facet]), h("b", {}, fixed(score.selected, 3)), score.std === null ? fixed(score.mean, 3) : `${fixed(score.mean, 3)} ± ${fixed(score.std, 3)}`,
        ...methods.map(([method]) => fixed(score.baselines[method], 3)), fixed(score.chance, 3)];
    }));
}

function overKmeans(row) {
  if (!row.over_kmeans || scoreState.metric !== "accuracy") return null;
  const { mean, low, high } = row.over_kmeans;
  const verdict = low > 0 ? "better than k-means" : high < 0 ? "worse than k-means" : "no clear difference to k-means";
  return h("p", { class: "note" }, facetName(facets[row.facet]), `: ${verdict}, by ${fixed(100 * mean, 1)} percentage points (95\u00a0% interval ${fixed(100 * low, 1)} to ${fixed(100 * high, 1)}).`);
}
