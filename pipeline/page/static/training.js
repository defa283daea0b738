// Training curves.

const trainingState = { term: "elbo" };

function termName(term) {
  const [, facet, factor] = term.match(/^accuracy_(\d+)_(.+)$/) ?? [];
  if (factor) return `Accuracy on ${factor}, ${facets[facet]?.label ?? `facet ${facet}`}`;
  const [, kind, j] = term.match(/^(kl|kl_z|kl_c)_(\d+)$/) ?? [];
  if (kind) return `${{ kl: "KL", kl_z: "KL of z", kl_c: "KL of c" }[kind]}, ${facets[j]?.label ?? `facet ${j}`}`;
  return { elbo: "Bound (ELBO)", log_px: "Reconstruction log p(x | z)" }[term] ?? term;
}

function trainingPanel() {
  const place = h("div", { class: "card stack" });
  const draw = () => place.replaceChildren(trainingChart(), trainingTable());
  draw();
  return [
    heading("Training", `How every seed came to its model. ${isPhased() ? "Facets join one after the other, the deepest first: each band is a phase and says which facet joins in it." : "All facets train together from the start."}`),
    h("div", { class: "row" }, choice("Quantity", D.curves.terms.map((term) => [term, termName(term)]), trainingState.term, (term) => { trainingState.term = term; draw(); })),
    place,
  ];
}

function trainingChart() {
  const { term } = trainingState, chosen = D.model.selected_seed;
  const shown = D.curves.series.filter((series) => series.values[term].some((value) => value !== null));
  if (!shown.length) return emptyNote("Nothing was recorded for this quantity.");
  const ordered = [...shown.filter((s) => s.seed !== chosen), ...shown.filter((s) => s.seed === chosen)];
  const traces = (colour) => ordered.map((series) => ({
    x: series.epoch, y: series.values[term], mode: "lines", name: series.seed === chosen ? `seed ${series.seed}, ${series.split}` : "other seeds", showlegend: series.seed === chosen || series === ordered[0],
    line: { color: colour(series.seed === chosen ? (series.split === "train" ? "--facet-0" : "--facet-1") : "--line-strong"), width: series.seed === chosen ? 2.6 : 1.2, dash: series.split === "train" ? "dot" : "solid" },
    hovertemplate: `%{y:.3f}<extra>seed ${series.seed}, ${series.split}</extra>`,
  }));
  const isAccuracy = term.startsWith("accuracy_"), unit = isAccuracy ? "accuracy" : inWords`nats an image`;
  const axis = isAccuracy ? [0, 1.02] : usualLow(shown.flatMap((series) => series.values[term].filter((value) => value !== null)));
  return chart(`${termName(term)} by epoch`, traces, (colour) => ({
    xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: unit }, ...(axis && { range: axis }) }, ...phaseBands(colour),
  }));
}

// The first epochs lie far below the rest and would flatten it: the axis leaves out the lowest twentieth if it is so.
function usualLow(values) {
  const sorted = [...values].sort((a, b) => a - b), most = sorted.at(-1);
  const [least, usual] = [sorted[0], sorted[Math.floor(0.05 * sorted.length)]];
  if (most === usual || most - least < 3 * (most - usual)) return null;
  return [usual - 0.06 * (most - usual), most + 0.06 * (most - usual)];
}

const isPhased = () => D.curves.series.some((series) => series.phase.at(-1) > 0);

function phaseName(phase) {
  const joined = facets[facets.length - 1 - phase]?.label ?? `phase ${phase}`;
  return phase ? `${joined} joins` : `${joined} alone`;
}

function phaseBands(colour) {
  const series = D.curves.series[0], bands = [];
  for (let n = 0; n < series.epoch.length; n++) {
    const last = bands[bands.length - 1];
    if (last && last.phase === series.phase[n]) last.end = series.epoch[n];
    else bands.push({ phase: series.phase[n], start: last ? last.end : series.epoch[n], end: series.epoch[n] });
  }
  if (bands.length < 2) return {};
  const last = bands.at(-1).end, room = document.getElementById("main").clientWidth - 120;
  const isNarrow = bands.some((band) => room * (band.end - band.start) / last < 96);
  return {
    shapes: bands.filter((band) => band.phase % 2 === 1).map((band) => ({ type: "rect", xref: "x", yref: "paper", x0: band.start, x1: band.end, y0: 0, y1: 1, layer: "below", line: { width: 0 }, fillcolor: colour("--sunken") })),
    annotations: bands.map((band) => ({ xref: "x", yref: "paper", x: (band.start + band.end) / 2, y: 0.02, yanchor: "bottom", showarrow: false, textangle: isNarrow ? -90 : 0, font: { size: 12, color: colour("--faint") }, text: phaseName(band.phase) })),
  };
}

function trainingTable() {
  const { term } = trainingState, last = (values) => values.filter((value) => value !== null).at(-1);
  const rows = D.curves.series.filter((s) => s.values[term].some((value) => value !== null))
    .map((s) => [`Seed ${s.seed}, ${s.split}`, count(s.epoch.at(-1) ?? 0), fixed(last(s.values[term]), 3)]);
  return h("details", {}, h("summary", {}, "Final values as a table"), sortTable([["Run"], ["Last epoch", "number"], [`${termName(term)}${term.startsWith("accuracy_") ? "" : ", nats"}`, "number"]], rows));
}
