// Differences between two revisions, and the images that they moved.

// A revision by the name that was given: of a whole hash, its beginning.
const shortName = ({ name }) => (/^[0-9a-f]{40}$/.test(name) ? name.slice(0, 8) : name);

function changesSection(changes) {
  const side = ({ name, commit }) => (commit && !commit.startsWith(name) ? `${name} (${commit.slice(0, 8)})` : shortName({ name }));
  return section("differences", `What changed: ${side(changes.first)} → ${side(changes.second)}`,
    changes.notes.map((note) => element("p", { class: "note" }, note)),
    forest(changes), changes.experiments.map(changedExperiment));
}

function changedExperiment(change) {
  const compared = change.verdict !== "not compared" && change.verdict !== "identical";
  const moved = change.classes.filter(({ gained, lost }) => gained || lost);
  const told = (metric) => (value) => points(metric.name, value);
  return element("details", { class: "change", open: compared },
    element("summary", {}, element("b", {}, change.name), " ",
      element("span", { class: `verdict ${change.verdict.split(" ")[0]}` }, change.verdict), " ", headline(change) || change.reason),
    change.remarks.map((remark) => element("p", { class: "muted" }, `${remark[0].toUpperCase()}${remark.slice(1)}.`)),
    change.configuration.length ? table("Configuration", ["key", "before", "after"], change.configuration.map((each) => [
      each.key, setting(each.first), setting(each.second)])) : null,
    change.metrics.length ? table("Figures", ["figure", "difference", `${percent(DATA.changes.confidence, 0)} interval`, "verdict", "before", "after", "p (Holm)"],
      change.metrics.map((metric) => [
        `${metric.part} ${named(metric.name)}`,
        metric.difference === null ? "–" : signed(metric.difference, told(metric)),
        metric.low === null ? "–" : `${signed(metric.low, told(metric)).replace(" points", "")} to ${signed(metric.high, told(metric))}`,
        metric.verdict ?? "–", figure(metric.name, metric.first), figure(metric.name, metric.second),
        element("span", { title: metric.method ?? "" }, metric.adjusted_p_value === null ? "–" : pValue(metric.adjusted_p_value))])) : null,
    compared ? element("p", {}, `Of ${count(change.images)} test images ${count(change.gained.length)} are recognised that were not, ${count(change.lost.length)} no longer.`) : null,
    movedImages(change, "gained", "Now recognised"), movedImages(change, "lost", "No longer recognised"),
    moved.length ? element("details", {}, element("summary", {}, "By class, those that changed most first"), table("Classes", ["class", "gained", "lost", "images"],
      [...moved].sort((one, other) => Math.abs(other.gained - other.lost) - Math.abs(one.gained - one.lost))
        .map((each) => [each.name, count(each.gained), count(each.lost), count(each.images)]))) : null,
    DATA.experiments.some(({ name }) => name === change.name) ? element("p", { class: "more" }, element("a", { href: `#/${change.name}` }, `Curves, confusion matrix and mistakes of ${change.name}`)) : null);
}

// kind: gained or lost. Text tells everything: the pixels may not have been to be had.
function movedImages(change, kind, title) {
  const shown = change.moved[kind] ?? [], all = change[kind].length;
  if (!shown.length) return null;
  const name = (index) => change.classes[index].name;
  const told = `${title}: ${shown.length < all ? `${shown.length} of ${count(all)}` : all}, the surest changes first`;
  const list = scrolling(element("ul", { class: "strip", role: "list", "aria-label": told }, shown.map((each) => element("li", { class: "tile" },
    each.picture ? element("img", { src: `data:image/png;base64,${each.picture}`, alt: `test image ${each.image}: ${name(each.actual)}` }) : null,
    element("b", {}, name(each.actual)),
    element("span", {}, `was ${name(each.before)}, ${percent(each.before_probability, 0)}`),
    element("span", {}, `now ${name(each.after)}, ${percent(each.after_probability, 0)}`),
    element("span", { class: "muted" }, `no. ${each.image}`)))));
  return [element("p", { class: "kind" }, told), list];
}

const pValue = (value) => (value < 0.001 ? "< 0.001" : value.toFixed(3));

function headline(change) {
  const metric = change.metrics.find(({ part, name }) => part === "test" && name === "accuracy");
  if (!metric || metric.difference === null) return "";
  return `${percent(metric.first)} → ${percent(metric.second)}, ${signed(metric.difference, (value) => points("accuracy", value))}`;
}

// The differences of the test accuracy with their intervals, one below the other around zero.
function forest(changes) {
  const rows = changes.experiments.map((change) => ({ change, metric: change.metrics.find(({ part, name, low }) => part === "test" && name === "accuracy" && low !== null) }))
    .filter(({ metric }) => metric);
  if (!rows.length) return null;
  const low = Math.min(0, ...rows.map(({ metric }) => metric.low)), high = Math.max(0, ...rows.map(({ metric }) => metric.high));
  const room = 0.06 * (high - low || 0.01), step = 40, height = step * rows.length;
  const plot = element("div", { class: "plot" });
  keepDrawn(plot, (width) => {
    const across = scale([low - room, high + room], [4, width - 4]);
    const marks = ticks(low - room, high + room, Math.max(4, width / 160));
    plot.replaceChildren(shape("svg", { width, height: height + 26, viewBox: `0 0 ${width} ${height + 26}`, role: "img",
      "aria-label": `Difference of the test accuracy with its interval: ${rows.map(({ change }) => `${change.name} ${headline(change)}`).join("; ")}` },
    ...marks.map((at) => shape("line", { class: at === 0 ? "axis" : "grid", x1: across(at), x2: across(at), y1: 0, y2: height })),
    ...marks.map((at) => shape("text", { class: "tick", x: Math.min(Math.max(across(at), 22), width - 22), y: height + 16, "text-anchor": "middle" }, at === 0 ? "0" : signed(at, (value) => number(100 * value)))),
    ...rows.flatMap(({ change, metric }, row) => [
      shape("text", { class: "label", x: 4, y: row * step + 17 }, change.name),
      shape("line", { class: `interval ${metric.verdict}`, x1: across(metric.low), x2: across(metric.high), y1: row * step + 30, y2: row * step + 30 }),
      shape("circle", { class: `estimate ${metric.verdict}`, r: 4, cx: across(metric.difference), cy: row * step + 30 })])));
  });
  return element("figure", { class: "chart" }, element("figcaption", {}, `Difference of the test accuracy in points, with its ${percent(changes.confidence, 0)} interval`), plot);
}
