// Charts, drawn by plotly.js, which is unpacked when the first one is shown.

const CHART_HEIGHT = 380;

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

// On a narrow screen the legend goes below, one entry a line, where it cannot cover the chart.
function legend(nEntries, height) {
  if (innerWidth >= 700) return { height, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 } };
  const room = 20 * nEntries + 12;
  return { height: height + room, legend: { orientation: "v", yref: "container", y: 0, yanchor: "bottom", x: 0 }, margin: { l: 52, r: 8, t: 8, b: 40 + room } };
}

function chartLayout(extra, nEntries) {
  const axis = { gridcolor: colourOf("--line"), zerolinecolor: colourOf("--line-strong"), linecolor: colourOf("--line-strong"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 56, r: 16, t: 12, b: 44 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colourOf("--soft") },
    hoverlabel: { bgcolor: colourOf("--raised"), bordercolor: colourOf("--line-strong"), font: { color: colourOf("--ink") } },
    ...extra, ...legend(nEntries, extra.height ?? CHART_HEIGHT), xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
  };
}

// A chart with a text for those who cannot see it; `traces` gets a function from CSS variables to colours.
function chart(label, traces, layout = {}) {
  const height = (typeof layout === "function" ? layout(colourOf) : layout).height ?? CHART_HEIGHT;
  const place = h("div", { class: "chart", role: "img", "aria-label": label, style: { "min-height": `${height}px` } }, h("p", { class: "loading" }, "Drawing …"));
  place.redraw = () => loadPlotly().then((library) => {
    if (!place.isConnected) return;
    place.querySelector(".loading")?.remove();
    const shapes = typeof layout === "function" ? layout(colourOf) : layout;
    const drawn = traces(colourOf), nEntries = drawn.filter((trace) => trace.showlegend !== false).length;
    library.react(place, drawn, chartLayout(shapes, nEntries), { responsive: true, displayModeBar: false });
  });
  requestAnimationFrame(place.redraw);
  return place;
}

function redrawCharts() {
  document.querySelectorAll(".chart").forEach((place) => place.redraw?.());
}
