// Images that fit nowhere well.

function unusualPanel(j) {
  const facet = facets[j], place = h("div", { class: "panel" });
  const draw = () => place.replaceChildren(...oddSections(facet).filter(Boolean));
  draw();
  return [
    heading(facets.length === 1 ? inWords`Unusual images` : inWords`Unusual images in ${facet.label}`,
      inWords`Two ways to be odd: least typical images are unlike anything the model has learned; torn images lie between two clusters.`),
    facets.length > 1 || hasPaths ? h("div", { class: "row" }, facetTabs("Facet", "unusual", j), fileField(draw)) : null,
    laterNote(),
    place,
  ];
}

function oddSections(facet) {
  const size = 64;
  return [
    filterNote(),
    oddSection(facet, "Least typical", inWords`Lowest log-density under the whole facet. Look here for damaged files, strange crops and new kinds of images.`, facet.unusual, (index) => [
      h("span", {}, `${fixed(facet.pool.typicality[index], 1)} nats`), h("span", {}, titleOf(clusterOf(facet, index)))], size),
    oddSection(facet, "Torn between clusters", "Largest entropy of the responsibilities. The bar shows the first and the second cluster, and what is left for all others; percentages are the probability of each.",
      facet.n_components > 1 ? facet.uncertain : [], (index) => tornNote(facet, index), size),
  ];
}

function oddSection(facet, title, text, chosen, note, size) {
  const shown = chosen.filter((index) => isShown(index) && isWanted(index));
  const grid = h("div", { class: "odd-grid", role: "group", "aria-label": title }, shown.map((index) =>
    h("button", { type: "button", class: "odd", onclick: () => show(`image:${index}`) }, imagePicture(index, size), filePath(index) === null ? h("span", { class: "visually-hidden" }, inWords`Image ${images.ids[index]}`) : fileName(shortName(nameOf(index), 40)), note(index))));
  roving(grid, ".odd", () => Math.max(1, getComputedStyle(grid).gridTemplateColumns.split(" ").length));
  return h("section", { class: `card stack ${facet.tone}` }, h("h2", {}, title), h("p", { class: "note" }, text),
    shown.length ? grid : emptyNote("There are none."));
}

function tornNote(facet, index) {
  const first = facet.pool.confidence[index], second = facet.pool.runner_up_confidence[index];
  const other = facet.clusters[facet.pool.runner_up[index]];
  const part = (fraction) => h("i", { style: { width: `${100 * Math.max(0, fraction)}%` } });
  return [
    h("span", { class: "split-bar", "aria-hidden": "true" }, part(first), part(second), part(1 - first - second)),
    h("span", {}, `${percent(first, 0)} ${titleOf(clusterOf(facet, index))}`),
    other ? h("span", {}, `${percent(second, 0)} ${titleOf(other)}`) : null,
  ];
}
