// A canvas of points or pictures that can be moved, zoomed and read with the keyboard.

class MapView {
  constructor(facet, state) {
    this.facet = facet;
    this.state = state;
    this.points = range(images.ids.length).filter((i) => images.isSampled[i] && isShown(i));
    this.canvas = h("canvas", { tabindex: 0, role: "application",
      "aria-label": inWords`Map of ${facet.label}: ${count(this.points.length)} images. Arrow keys move from image to image, Enter opens it, plus and minus zoom.` });
    this.cursor = -1;
    this.pointers = new Map();
    this.colours = clusterColours(facet);
    this.fit();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    const files = D.sheets.images.files.map(bitmap);
    Promise.all(files).then((found) => { this.bitmaps = found; this.draw(); });
  }

  // Data coordinates that fill the canvas: the middle 99 % of the points, so that strays do not shrink the rest.
  fit() {
    const places = this.facet.pool.places;
    const bounds = [0, 1].map((axis) => {
      const sorted = this.points.map((i) => places[2 * i + axis]).sort((a, b) => a - b);
      const cut = Math.floor(sorted.length * 0.005);
      return [sorted[cut] ?? -1, sorted[sorted.length - 1 - cut] ?? 1];
    });
    this.centre = bounds.map(([low, high]) => (low + high) / 2);
    this.extent = bounds.map(([low, high]) => Math.max(high - low, 1e-6));
    this.zoom = 1;
    this.offset = [0, 0];
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    if (!box.width) return;
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    [this.width, this.height] = [box.width, box.height];
    this.canvas.width = box.width * this.ratio;
    this.canvas.height = box.height * this.ratio;
    this.draw();
  }

  // The axes are scaled apart: the plane's units are deviations within clusters, not pixels.
  place(index) {
    const places = this.facet.pool.places, room = 0.88 * this.zoom;
    return [
      this.width / 2 + this.offset[0] + ((places[2 * index] - this.centre[0]) / this.extent[0]) * this.width * room,
      this.height / 2 + this.offset[1] - ((places[2 * index + 1] - this.centre[1]) / this.extent[1]) * this.height * room,
    ];
  }

  draw() {
    if (!this.width) return;
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    const context = this.canvas.getContext("2d"), chosen = this.state.cluster;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    this.placed = this.points.map((i) => this.place(i));
    const ids = this.facet.pool.cluster_id, isPictures = this.state.mode === "pictures" && this.bitmaps;
    const size = Math.min(48, 13 + 3 * this.zoom), radius = Math.min(6, 2.6 + 0.5 * this.zoom);
    context.imageSmoothingEnabled = D.sheets.images.height > 16;
    for (const isChosen of [false, true]) {
      this.points.forEach((index, n) => {
        if ((isWanted(index) && (chosen === null || ids[index] === chosen)) !== isChosen) return;
        const [x, y] = this.placed[n];
        if (x < -size || y < -size || x > this.width + size || y > this.height + size) return;
        context.globalAlpha = isChosen ? (isPictures ? 1 : 0.78) : 0.1;
        if (isPictures) this.stamp(context, index, x, y, size, this.colours[ids[index]], 1);
        else {
          context.fillStyle = this.colours[ids[index]];
          context.beginPath();
          context.arc(x, y, radius, 0, 7);
          context.fill();
        }
      });
    }
    context.globalAlpha = 1;
    if (this.state.faces && this.bitmaps && !isPictures) this.paintFaces(context, chosen);
    if (this.cursor >= 0) this.paintCursor(context);
  }

  stamp(context, index, x, y, size, colour, border) {
    const sheet = D.sheets.images, at = corner(sheet, index), scale = size / Math.max(sheet.width, sheet.height);
    const [width, height] = [sheet.width * scale, sheet.height * scale];
    context.fillStyle = colour;
    context.fillRect(x - width / 2 - border, y - height / 2 - border, width + 2 * border, height + 2 * border);
    context.drawImage(this.bitmaps[sheet.files.indexOf(at.file)], at.left, at.top, sheet.width, sheet.height, x - width / 2, y - height / 2, width, height);
  }

  paintFaces(context, chosen) {
    for (const cluster of this.facet.used) {
      const members = this.points.map((i, n) => [i, n]).filter(([i]) => this.facet.pool.cluster_id[i] === cluster.id && isWanted(i));
      if (!members.length || (chosen !== null && chosen !== cluster.id)) continue;
      const middle = [0, 1].map((axis) => members.map(([, n]) => this.placed[n][axis]).sort((a, b) => a - b)[members.length >> 1]);
      const face = faceOf(cluster);
      if (face >= 0) this.stamp(context, face, middle[0], middle[1], niceSize("images", 28), this.colours[cluster.id], 3);
    }
  }

  paintCursor(context) {
    const [x, y] = this.place(this.cursor), ink = getComputedStyle(this.canvas).color;
    context.strokeStyle = ink;
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(x, y, 11, 0, 7);
    context.stroke();
  }

  at(x, y, reach = 16) {
    let best = -1, least = reach * reach;
    (this.placed ?? []).forEach(([px, py], n) => {
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [this.points[n], distance];
    });
    return best;
  }

  scaleBy(factor, x = this.width / 2, y = this.height / 2) {
    const zoom = Math.max(0.5, Math.min(60, this.zoom * factor)), ratio = zoom / this.zoom;
    this.offset = [this.offset[0], this.offset[1]].map((o, axis) => {
      const from = (axis ? y - this.height / 2 : x - this.width / 2);
      return from - (from - o) * ratio;
    });
    this.zoom = zoom;
    this.draw();
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.scaleBy(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      this.moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", hideHover);
    canvas.addEventListener("dblclick", (event) => this.scaleBy(1.8, event.offsetX, event.offsetY));
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  move(event) {
    const here = [event.offsetX, event.offsetY], before = this.pointers.get(event.pointerId);
    if (!before) {
      this.cursor = this.at(...here);
      if (this.cursor >= 0) placeHover(event.clientX, event.clientY, hoverCard(this.cursor));
      else hideHover();
      this.draw();
      return;
    }
    const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    if (others.length) {
      const gap = ([x, y]) => Math.hypot(x - others[0][0], y - others[0][1]) || 1;
      this.scaleBy(gap(here) / gap(before), (here[0] + others[0][0]) / 2, (here[1] + others[0][1]) / 2);
    } else this.offset = this.offset.map((o, axis) => o + here[axis] - before[axis]);
    this.moved += Math.hypot(here[0] - before[0], here[1] - before[1]);
    this.pointers.set(event.pointerId, here);
    hideHover();
    this.draw();
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    const found = this.at(event.offsetX, event.offsetY);
    if (this.moved < 5 && found >= 0) show(`image:${found}`);
  }

  key(event) {
    const direction = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (direction) this.step(...direction);
    else if (event.key === "+" || event.key === "=") this.scaleBy(1.4);
    else if (event.key === "-") this.scaleBy(1 / 1.4);
    else if (event.key === "Enter" && this.cursor >= 0) show(`image:${this.cursor}`);
    else return;
    event.preventDefault();
  }

  // The nearest image in a direction: along it counts once, across it twice.
  step(dx, dy) {
    const [x, y] = this.cursor >= 0 ? this.place(this.cursor) : [this.width / 2, this.height / 2];
    let best = -1, least = Infinity;
    this.placed.forEach(([px, py], n) => {
      const along = (px - x) * dx + (py - y) * dy, across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      if (along > 0.5 && along + 2 * across < least && this.points[n] !== this.cursor) [best, least] = [this.points[n], along + 2 * across];
    });
    if (best < 0) return;
    this.cursor = best;
    const box = this.canvas.getBoundingClientRect(), [cx, cy] = this.place(best), cluster = clusterOf(this.facet, best);
    placeHover(box.left + cx, box.top + cy, hoverCard(best));
    announce(inWords`Image ${nameOf(best)}, ${titleOf(cluster)}, ${surenessOf(this.facet, best)}`);
    this.draw();
  }
}

// Neighbours in the order of similarity get far hues, so that touching clusters part.
function clusterColours(facet) {
  const isDark = document.documentElement.classList.contains("dark"), colours = [];
  facet.by_similarity.forEach((id, n) => {
    const hue = (n * 137.508 + 200) % 360, level = isDark ? 62 + 8 * (n % 3) : 38 + 7 * (n % 3);
    colours[id] = `hsl(${hue.toFixed(0)} ${isDark ? 68 : 66}% ${level}%)`;
  });
  return colours;
}
