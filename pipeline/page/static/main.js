// Routes, navigation, theme.

const PANELS = {
  overview: ["Overview", () => overviewPanel(), "M4 12 12 4l8 8M6 10v10h12V10"],
  clusters: ["Clusters", (j) => clustersPanel(j), "M4 5h16M4 12h16M4 19h16"],
  cross: ["Cross-table", (a, b) => crossPanel(a, b), "M4 4h16v16H4zM4 9.300h16M4 14.700h16M9.300 4v16M14.700 4v16"],
  compose: ["Compose", () => composePanel(), "M8 4v8a4 4 0 0 0 8 0V4M12 16v4"],
  map: ["Map", (j) => mapPanel(j), "M5 17h.01M9 9h.01M14 14h.01M18 6h.01M7 13h.01M17 18h.01M13 7h.01"],
  unusual: [inWords`Unusual images`, (j) => unusualPanel(j), "M12 4 3 20h18zM12 10v4M12 17h.01"],
  batches: ["Batches", () => batchesPanel(), "M4 8l8-4 8 4-8 4zM4 12l8 4 8-4M4 16l8 4 8-4"],
  training: ["Training", () => trainingPanel(), "M4 20V4M4 20h16M7 16c3-9 6-10 12-10"],
  scores: ["Scores", () => scoresPanel(), "M5 20v-8M12 20V4M19 20v-5"],
  about: ["About this page", () => aboutPanel(), "M12 11v6M12 7.500h.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18"],
};
const PER_FACET = ["clusters", "map", "unusual"];
const isOffered = (name) => !(facets.length === 1 && ["cross", "compose"].includes(name)) && !(name === "compose" && !D.swaps);

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...numbers] = path.split("/"), args = numbers.map(Number);
  const shown = new URLSearchParams(query).get("show");
  if (!PANELS[name] || !isOffered(name)) return { name: "overview", args: [], shown };
  if (PER_FACET.includes(name)) return { name, args: [facets[args[0]] ? args[0] : 0], shown };
  if (name === "cross") return { name, args: facets[args[0]] && facets[args[1]] && args[0] !== args[1] ? args.slice(0, 2) : [0, 1], shown };
  return { name, args: [], shown };
}

const pathOf = ({ name, args }) => `#/${[name, ...args].join("/")}`;
const withShow = (code) => `${pathOf(route())}?show=${code}`;

function show(code) {
  location.hash = code ? withShow(code) : pathOf(route());
}

let drawn = null;

function render(isForced = false) {
  const wanted = route(), path = pathOf(wanted);
  if (path !== drawn || isForced) {
    const isFirst = drawn === null;
    drawn = path;
    hideHover();
    document.getElementById("main").replaceChildren(h("div", { class: "panel", id: `panel-${wanted.name}` }, PANELS[wanted.name][1](...wanted.args).filter(Boolean)));
    drawNav(wanted);
    document.title = `${PANELS[wanted.name][0]} · ${D.published.experiment} · version ${D.published.version}`;
    if (!isFirst && !isForced) {
      scrollTo(0, 0);
      document.querySelector("main h1").focus({ preventScroll: true });
    }
  } else refreshLinks();
  if (wanted.shown) openDetails(wanted.shown);
  else closeDetails();
}

// Links to clusters keep the panel behind the sheet; after a move inside the sheet they are still right.
function refreshLinks() {
  document.querySelectorAll("main a[href*='?show=']").forEach((link) => {
    link.setAttribute("href", withShow(link.getAttribute("href").split("?show=")[1]));
  });
}

function drawNav(wanted) {
  const link = (href, isHere, ...content) => h("li", {}, h("a", { href, "aria-current": isHere ? "page" : null }, content));
  const entry = (name) => {
    const href = name === "cross" ? "#/cross/0/1" : PER_FACET.includes(name) ? `#/${name}/0` : `#/${name}`;
    const tail = name === "batches" && D.batches.some((batch) => batch.drifted && batch.status === "live") ? h("span", { class: "count" }, "drift") : null;
    return link(href, wanted.name === name, icon(PANELS[name][2]), PANELS[name][0], tail);
  };
  const byFacet = facets.map((facet) => link(`#/clusters/${facet.index}`, wanted.name === "clusters" && wanted.args[0] === facet.index,
    h("span", { class: `dot ${facet.tone}`, "aria-hidden": "true" }), facets.length === 1 ? "Clusters" : facet.label, h("span", { class: "count" }, facet.used.length)));
  const group = (title, items) => [h("p", { class: "nav-group" }, title), h("ul", {}, items)];
  document.getElementById("nav").replaceChildren(h("div", {},
    h("ul", {}, entry("overview")),
    group("Clusters", byFacet),
    group("Explore", ["cross", "compose", "map", "unusual"].filter(isOffered).map(entry)),
    group("Trust", ["batches", "training", "scores", "about"].map(entry))));
  setMenu(false);
}

// On a narrow screen the navigation lies behind a button that says where one is.
function setMenu(isOpen) {
  const menu = document.getElementById("menu"), here = document.querySelector("#nav [aria-current]");
  menu.setAttribute("aria-expanded", String(isOpen));
  menu.replaceChildren(h("span", {}, isOpen ? "Close" : [...here.childNodes].find((node) => node.nodeType === Node.TEXT_NODE).textContent), icon(isOpen ? "M6 6l12 12M18 6 6 18" : "M4 7h16M4 12h16M4 17h16"));
  menu.setAttribute("aria-label", `${isOpen ? "Close the" : "Open the"} navigation`);
}

const SUN = "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M5 19l2-2M17 7l2-2";
const MOON = "M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500";

function setTheme(isDark) {
  document.documentElement.classList.toggle("dark", isDark);
  const button = document.getElementById("theme");
  button.replaceChildren(icon(isDark ? SUN : MOON));
  button.setAttribute("aria-label", isDark ? "Switch to the light theme" : "Switch to the dark theme");
}

function start() {
  document.getElementById("brand").textContent = D.published.experiment;
  document.getElementById("version").textContent = `version ${D.published.version}`;
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  let isChosen = false;
  const change = (isDark) => {
    setTheme(isDark);
    if (drawn) render(true);
  };
  setTheme(preferred.matches);
  preferred.addEventListener("change", () => { if (!isChosen) change(preferred.matches); });
  document.getElementById("theme").addEventListener("click", () => {
    isChosen = true;
    change(!document.documentElement.classList.contains("dark"));
  });
  document.getElementById("menu").addEventListener("click", () => setMenu(document.getElementById("menu").getAttribute("aria-expanded") !== "true"));
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  dialog.addEventListener("close", () => { if (route().shown) show(null); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) show(null); });
  // Sizes of pictures and columns follow the width at drawing.
  matchMedia("(max-width: 900px)").addEventListener("change", () => render(true));
  addEventListener("hashchange", () => render());
  followPictures();
  render();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}

start();
