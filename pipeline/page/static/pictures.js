// Pictures cut out of sprites.

const SMOOTH_UP_TO = 64;
const sprites = {};

function spriteUrl(file) {
  if (!sprites[file]) {
    const block = document.getElementById(`sprite:${file}`);
    const url = URL.createObjectURL(new Blob([bytes(block.textContent)], { type: "image/webp" }));
    block.textContent = "";
    sprites[file] = { url, className: `sprite-${Object.keys(sprites).length}` };
    const rule = h("style");
    rule.textContent = `.${sprites[file].className}{background-image:url(${url})}`;
    document.head.append(rule);
  }
  return sprites[file];
}

function corner(sheet, index) {
  const perFile = sheet.columns * sheet.rows, within = index % perFile, file = Math.floor(index / perFile);
  const width = sheet.width + 2 * sheet.gutter, height = sheet.height + 2 * sheet.gutter;
  return {
    file: sheet.files[file],
    left: (within % sheet.columns) * width + sheet.gutter,
    top: Math.floor(within / sheet.columns) * height + sheet.gutter,
    fileWidth: sheet.columns * width,
    fileHeight: Math.ceil(Math.min(perFile, sheet.count - file * perFile) / sheet.columns) * height,
  };
}

// One picture as a decorative element whose longer side is `size` CSS pixels; who shows it says what it is.
function picture(name, index, size, props = {}) {
  const sheet = D.sheets[name], at = corner(sheet, index), scale = size / Math.max(sheet.width, sheet.height);
  // Large pictures of few pixels show these as they are; small ones are easier to read when smoothed.
  const isCrisp = Math.max(sheet.width, sheet.height) <= 16 && size > SMOOTH_UP_TO;
  const element = h("span", { ...props, class: `pic ${spriteUrl(at.file).className} ${isCrisp ? "crisp" : ""} ${props.class ?? ""}` });
  element.style.cssText = `width:${sheet.width * scale}px;height:${sheet.height * scale}px;` +
    `background-size:${at.fileWidth * scale}px ${at.fileHeight * scale}px;background-position:${-at.left * scale}px ${-at.top * scale}px`;
  return element;
}

function imagePicture(index, size, props = {}) {
  if (!isShown(index)) return h("span", { ...props, class: "pic", style: { width: `${size}px`, height: `${size}px` } });
  return picture("images", index, size, { ...props, "data-image": index });
}

// Pictures that show their pixels need integer scales.
function niceSize(name, wanted) {
  const longer = Math.max(D.sheets[name].width, D.sheets[name].height);
  return longer <= 16 && wanted > SMOOTH_UP_TO ? Math.round(wanted / longer) * longer : wanted;
}

function imageButton(index, size, facet = null) {
  const label = facet
    ? inWords`image ${nameOf(index)}, ${titleOf(clusterOf(facet, index))}, ${surenessOf(facet, index)}`
    : inWords`image ${nameOf(index)}`;
  return h("button", { type: "button", class: "pic-button", "aria-label": label, onclick: () => show(`image:${index}`) },
    imagePicture(index, size));
}

function imageButtons(indices, size, facet, label) {
  const buttons = indices.filter(isShown).map((index) => imageButton(index, size, facet));
  const group = h("div", { class: "pics", role: "group", "aria-label": label }, buttons);
  const perRow = () => Math.max(1, Math.floor((group.clientWidth + 4) / (size + 4)));
  return roving(group, "button", perRow);
}

const bitmaps = {};

// The decoded sprite file, for canvases.
function bitmap(file) {
  bitmaps[file] ??= new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = spriteUrl(file).url;
  });
  return bitmaps[file];
}
