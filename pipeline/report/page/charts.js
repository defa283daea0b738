// Charts, drawn by plotly.js, which is unpacked when the first one is shown.

let plotly = null;

function loadPlotly() {
  plotly ??= (async () => {
    const packed = new Blob([bytes(document.getElementById("plotly").textContent)]);
    const source = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
    const script = h("script");
    script.textContent = source;
    document.head.append(script);
    return window.Plotly;
  })();
  return plotly;
}

const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function chartLayout(extra) {
  const axis = { gridcolor: colourOf("--line"), zerolinecolor: colourOf("--line-strong"), linecolor: colourOf("--line-strong"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 56, r: 16, t: 12, b: 44 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colourOf("--soft") },
    hoverlabel: { bgcolor: colourOf("--raised"), bordercolor: colourOf("--line-strong"), font: { color: colourOf("--ink") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, height: 380,
    ...extra, xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
  };
}

// A chart with a text for those who cannot see it; `traces` gets a function from CSS variables to colours.
function chart(label, traces, layout = {}) {
  const place = h("div", { class: "chart", role: "img", "aria-label": label }, h("p", { class: "loading" }, "Drawing …"));
  place.redraw = () => loadPlotly().then((library) => {
    if (!place.isConnected) return;
    place.querySelector(".loading")?.remove();
    const shapes = typeof layout === "function" ? layout(colourOf) : layout;
    library.react(place, traces(colourOf), chartLayout(shapes), { responsive: true, displayModeBar: false });
  });
  requestAnimationFrame(place.redraw);
  return place;
}

function redrawCharts() {
  document.querySelectorAll(".chart").forEach((place) => place.redraw?.());
}
