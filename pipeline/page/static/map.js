// The latent map of a facet.

const mapState = { mode: "dots", faces: true, cluster: null };

function mapPanel(j) {
  const facet = facets[j];
  mapState.cluster = null;
  const view = new MapView(facet, mapState);
  const note = h("div", { role: "status" }, filterNote());
  const tool = (text, label, act) => h("button", { type: "button", class: "icon-button", "aria-label": label, onclick: act }, text);
  return [
    heading(facets.length === 1 ? "Map" : `Map of ${facet.label}`,
      inWords`Every point is an image. Images that lie together look alike to this facet; colours are clusters. Point at one to see it, click to open it; drag to move, Ctrl and wheel or double click to zoom.`),
    h("div", { class: "row" },
      facetTabs("Facet", "map", j),
      segments("Show", [["dots", "Dots"], ["pictures", "Pictures"]], mapState.mode, (mode) => { mapState.mode = mode; view.draw(); }),
      choice("Cluster", [["", "all"], ...facet.used.map((cluster) => [cluster.id, titleOf(cluster)])], "", (id) => { mapState.cluster = id === "" ? null : Number(id); view.draw(); }),
      h("label", { class: "field" }, h("input", { type: "checkbox", checked: mapState.faces, onchange: (event) => { mapState.faces = event.target.checked; view.draw(); } }), "Faces"),
      fileField(() => { note.replaceChildren(filterNote() ?? ""); view.draw(); })),
    note,
    view.points.length ? h("div", { class: "map-wrap" }, view.canvas, h("div", { class: "map-tools" },
      tool("+", "Zoom in", () => view.scaleBy(1.5)), tool("−", "Zoom out", () => view.scaleBy(1 / 1.5)),
      tool("⤢", "Show everything", () => { view.zoom = 1; view.offset = [0, 0]; view.draw(); }))) : emptyNote(inWords`There are no images to map.`),
    h("p", { class: "note" }, inWords`${count(view.points.length)} of ${count(nImages - nLater)} training and test images, drawn at random. The plane is the one that parts this facet's clusters best, out of ${plural(facet.latent_dim, "dimension")}; clusters that overlap here may be apart in the others.`),
  ];
}
