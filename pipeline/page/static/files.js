// Names of files: what images are called, where they open, and which of them a person looks for.

const fileFilter = { text: "" };

const plainText = (text) => text.normalize("NFC").toLowerCase();
const hasPaths = (D.files?.paths ?? []).some((path) => path !== null);
const filePath = (index) => D.files?.paths[index] ?? null;
const nameOf = (index) => visible(filePath(index) ?? images.ids[index]);
const searchable = (D.files?.paths ?? []).map((path) => (path === null ? null : plainText(path)));

// A name with its control characters, among them those that turn the direction of writing, as escapes.
function visible(path) {
  return path.replace(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
}

// The end of a name, which tells more than its beginning.
function shortName(name, most = 60) {
  return name.length > most ? `…${name.slice(1 - most)}` : name;
}

// Names stand apart, so that the direction in which one is written turns nothing around it.
const fileName = (text, props = {}) => h("bdi", { ...props, class: `path ${props.class ?? ""}` }, text);

function addressOf(index) {
  const root = D.files?.roots[D.files.root_of[index]];
  // From the web browsers follow no link to a file.
  if (!root || (root.startsWith("file:") && location.protocol !== "file:")) return null;
  // \x80 to \xff stand for bytes that are no UTF-8.
  const part = (text) => encodeURIComponent(text).replace(/%5Cx([89a-f][0-9a-f])/g, "%$1");
  return root + filePath(index).split("/").map(part).join("/");
}

function fileFacts(index) {
  if (filePath(index) === null) return null;
  const address = addressOf(index);
  return [
    h("p", { class: "mono" }, fileName(nameOf(index))),
    address ? h("p", {}, h("a", { class: "button", href: address, target: "_blank", rel: "noopener noreferrer" }, "Open the file")) : null,
  ];
}

const isFiltered = () => hasPaths && fileFilter.text.trim() !== "";

function isWanted(index) {
  return !isFiltered() || (searchable[index]?.includes(plainText(fileFilter.text.trim())) ?? false);
}

function fileField(draw) {
  if (!hasPaths) return null;
  return h("label", { class: "field" }, "File", h("input", { type: "search", placeholder: "part of its path", "data-filter": "file", value: fileFilter.text,
    oninput: (event) => { fileFilter.text = event.target.value; draw(); } }));
}

// How many images the filter leaves, of those that are on the page.
function filterNote() {
  if (!isFiltered()) return null;
  const shown = range(images.ids.length).filter(isShown), found = shown.filter(isWanted).length;
  const rest = shown.length < nImages ? inWords` The page holds ${count(shown.length)} of ${count(nImages)} images; the table images names all.` : "";
  return h("p", { class: "note" }, `${plural(found, noun)} on this page ${found === 1 ? "has" : "have"} “`, fileName(visible(fileFilter.text.trim())), `” in the path.${rest}`);
}
