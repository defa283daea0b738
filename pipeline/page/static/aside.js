// What is not in the tables, and why: files that were set aside, and images that came twice.

const nAside = sum(D.aside.map((row) => row.count));

// The same reason of several batches counts once; what to do about it stands on the panel Batches.
function asideNote() {
  if (!nAside) return null;
  const reasons = new Map();
  for (const row of D.aside) {
    const reason = row.reason.split(";")[0];
    reasons.set(reason, (reasons.get(reason) ?? 0) + row.count);
  }
  const shown = [...reasons].sort((a, b) => b[1] - a[1]).slice(0, 4).map(([reason, n]) => `${count(n)} × “${visible(reason)}”`);
  const rest = reasons.size > 4 ? ` and ${plural(reasons.size - 4, "more reason")}` : "";
  return h("p", { class: "notice" }, h("b", {}, `${count(nAside)} of ${plural(nImages + nAside, "file")} ${nAside === 1 ? "was" : "were"} set aside`), `: ${shown.join(", ")}${rest}. `,
    h("a", { href: "#/batches" }, "Which and why"));
}

function asideCard() {
  const known = sum(D.batches.map((batch) => batch.duplicates));
  const rows = D.aside.map((row) => [visible(row.reason), count(row.count), h("span", { class: "mono" }, row.batch_id),
    ...(D.files === null ? [] : [h("span", { class: "names" }, row.files.map((file) => fileName(shortName(visible(file)), { title: visible(file) })))])]);
  const columns = [["The file …", "text"], ["Files", "number"], ["Batch"], ...(D.files === null ? [] : [["Such as", "text"]])];
  return h("section", { class: "card stack", "aria-label": "Set aside" }, h("h2", {}, "Set aside"),
    rows.length ? sortTable(columns, rows) : h("p", { class: "note" }, "Every file that was read could be used."),
    D.copies ? h("p", { class: "note" }, inWords`${plural(D.copies, noun)} of ${count(nImages)} ${D.copies === 1 ? "is an exact copy" : "are exact copies"} of another one in the source. Each counts as an image of its own.`) : null,
    rejectedList(),
    known ? h("p", { class: "note" }, `${plural(known, inWords`delivered image`)} ${known === 1 ? "was" : "were"} known already and not added again.`) : null);
}

// Deliveries of which no image was taken; a page without names counts them, as a reason may name files.
function rejectedList() {
  if (!D.rejected.length) return null;
  const rows = D.rejected.filter((row) => row.name !== null).map((row) => [visible(row.reason), h("span", { class: "names" }, fileName(shortName(visible(row.name)), { title: visible(row.name) }))]);
  return h("div", { class: "stack", style: { gap: "6px" } },
    h("p", { class: "note" }, h("b", {}, `${plural(D.rejected.length, "delivery was", "deliveries were")} rejected as a whole`), inWords`: no image of it is in the tables.`),
    rows.length ? sortTable([["Why", "text"], ["Delivery", "text"]], rows) : null);
}
