// The sections of the page: overview, and one experiment at a time.

const MEASURES = {
  train_accuracy: "train accuracy", valid_accuracy: "valid accuracy", test_accuracy: "test accuracy",
  first_step_loss: "loss of the first step", last_step_loss: "loss of the last step",
  accuracy: "accuracy", cross_entropy: "loss (cross entropy)", expected_calibration_error: "calibration error",
};
const named = (measure) => MEASURES[measure] ?? measure.replaceAll("_", " ");
const isShare = (measure) => measure.endsWith("accuracy") || measure.endsWith("calibration_error");
const figure = (measure, value) => (value === null ? "–" : isShare(measure) ? percent(value) : value.toFixed(4));
const points = (measure, value) => (isShare(measure) ? `${(100 * value).toFixed(2)} points` : value.toFixed(4));
const setting = (value) => (value === null ? "–" : Array.isArray(value) ? value.map(setting).join("-") : typeof value === "object" ? JSON.stringify(value) : String(value));

function section(id, title, ...content) {
  return element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, title), ...content);
}

// Overview

function overviewSection({ experiments, results }) {
  const rows = results.rows.filter((row) => experiments.some(({ name }) => name === row.experiment));
  const comparable = rows.some((row) => row.published !== null);
  return section("overview", "Overview",
    table("All experiments beside what was published about them", ["experiment", "measure", "ours", "published", "difference", "data"],
      rows.map((row, index) => [
        rows[index - 1]?.experiment === row.experiment ? element("span", { class: "visually-hidden" }, row.experiment) : element("a", { href: `#/${row.experiment}` }, breakable(row.experiment)),
        named(row.measure), bar(row), row.published === null ? (row.source === "official" ? "–" : "other data") : figure(row.measure, row.published),
        row.difference === null ? "–" : signed(row.difference, (value) => points(row.measure, value)),
        row.dataset]), { class: "scroll figures" }),
    comparable ? null : element("p", { class: "muted" }, "The published figures were measured on the official data; these runs are on drawn data, so no difference is given."),
    wordsOf(results.published),
    comparison(experiments));
}

const bar = ({ measure, ours }) => (isShare(measure)
  ? element("span", { class: "bar" }, element("span", { class: "track", "aria-hidden": "true" }, element("span", { style: `width: ${100 * ours}%` })), figure(measure, ours))
  : figure(measure, ours));

function wordsOf(published) {
  const told = Object.entries(published).filter(([, text]) => text);
  return told.length ? element("details", {}, element("summary", {}, "Published, in words"),
    element("dl", {}, told.map(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]))) : null;
}

function comparison(experiments) {
  const measures = { accuracy: "accuracy", loss: "loss", learning_rate: "learning rate" };
  const choice = element("select", { id: "measure" }, Object.entries(measures).map(([value, text]) => element("option", { value }, text)));
  const hidden = new Set();
  const boxes = element("fieldset");
  const place = element("div");
  const draw = () => {
    const lines = experiments.map((experiment, index) => {
      const { column, part } = columnOf(experiment, choice.value);
      return { name: part ? `${experiment.name} (${part})` : experiment.name, colour: colour(index),
        dash: DASHES[Math.floor(index / 7) % DASHES.length], x: experiment.history.epoch, y: column };
    });
    boxes.replaceChildren(element("legend", { class: "visually-hidden" }, "Experiments in the chart"), ...lines.map((line, index) =>
      element("label", {}, element("input", { type: "checkbox", checked: !hidden.has(index), onchange: (event) => {
        if (event.target.checked) hidden.delete(index);
        else hidden.add(index);
        redraw();
      } }), sample(line), line.name)));
    const redraw = () => place.replaceChildren(lineChart(lines.filter((_, index) => !hidden.has(index)),
      { ...curveOptions(choice.value, "All experiments"), legend: false, empty: hidden.size === lines.length ? "No experiment is chosen." : undefined }));
    redraw();
  };
  choice.addEventListener("change", draw);
  draw();
  return [element("h3", {}, "Side by side"),
    element("div", { class: "controls" }, element("label", { for: "measure" }, "Show"), choice), boxes, place];
}

// The valid part where there is one, else the train part.
function columnOf({ history }, measure) {
  if (history[measure]) return { column: history[measure], part: "" };
  const part = isKnown(history[`valid_${measure}`]) ? "valid" : "train";
  return { column: history[`${part}_${measure}`], part };
}

function curveOptions(measure, title) {
  const share = measure === "accuracy";
  return { title: `${title}: ${measure.replace("_", " ")} by epoch`, label: "epoch", log: !share, limits: share ? [0, 1] : undefined,
    text: share ? percent : number, tick: share ? (value) => percent(value, Math.abs(100 * value - Math.round(100 * value)) < 1e-6 ? 0 : 1) : number };
}

// One experiment

// changes: the differences between two revisions; null where the page is of one.
function experimentSection(experiments, changes) {
  const choice = element("div", { class: "choice", role: "group", "aria-label": "Experiment" });
  const place = element("div");
  const made = section("experiment", "One experiment", choice, place);
  const buttons = experiments.map((experiment) => element("button", { type: "button", onclick: () => { location.hash = `/${experiment.name}`; } }, experiment.name));
  choice.append(...buttons);
  const show = (name) => {
    const index = experiments.findIndex((each) => each.name === name);
    if (index < 0) return false;
    buttons.forEach((button, each) => button.setAttribute("aria-pressed", each === index));
    place.replaceChildren(...details(experiments[index], changes));
    return true;
  };
  return { made, show };
}

function details(experiment, changes) {
  const total = experiment.confusion.flat().reduce((one, other) => one + other, 0);
  const right = experiment.confusion.reduce((sum, row, index) => sum + row[index], 0);
  return [
    element("h3", { class: "name" }, experiment.name),
    element("p", {}, `${experiment.dataset}; ${experiment.sizes.map(count).join(" – ")} units, ${experiment.activation}; `,
      element("b", {}, `${percent(right / total)} of ${count(total)} test images right`), `; calibration error ${percent(experiment.calibration.error)}.`),
    curves(experiment, changes), confusion(experiment), mistakes(experiment),
    element("div", { class: "columns" }, element("div", {}, calibration(experiment)), element("div", {}, weights(experiment))),
    search(experiment)].flat();
}

// Solid: the revision that the page is of. Dashed: the one before, where its curves are others.
function curves(experiment, changes) {
  const before = changes?.experiments.find(({ name }) => name === experiment.name)?.history;
  const versions = before
    ? [{ history: experiment.history, suffix: `, ${shortName(changes.second)}`, dash: "none" }, { history: before, suffix: `, ${shortName(changes.first)}`, dash: DASHES[1] }]
    : [{ history: experiment.history, suffix: "" }];
  const parts = ["train", "valid"].filter((part) => versions.some(({ history }) => isKnown(history[`${part}_loss`])));
  const title = { train: "Train part", valid: "Valid part" }[parts.join()] ?? "Train and valid part";
  const lines = (measure) => versions.flatMap(({ history, suffix, dash }) => parts.map((part, index) => (
    { name: part + suffix, colour: colour(index), dash: dash ?? DASHES[index], x: history.epoch, y: history[`${part}_${measure}`] })));
  return [element("h4", {}, "Curves"),
    element("div", { class: "columns" }, ["accuracy", "loss"].map((measure) => lineChart(lines(measure), curveOptions(measure, title)))),
    element("details", {}, element("summary", {}, "Curves as a table"),
      versions.map(({ history, suffix }) => table(`Epochs${suffix}`, Object.keys(history).map((name) => name.replaceAll("_", " ")),
        history.epoch.map((_, row) => Object.entries(history).map(([name, column]) => (isShare(name) ? figure(name, column[row]) : number(column[row])))))))];
}

function confusion(experiment) {
  const { classes, examples, confusion: matrix } = experiment;
  const place = element("div", { class: "cell", "aria-live": "polite" }, element("p", { class: "muted" }, "Choose a cell to see its images; arrow keys move between cells."));
  const buttons = matrix.map((row, actual) => {
    const total = row.reduce((one, other) => one + other, 0);
    return row.map((images, predicted) => {
      const share = total ? images / total : 0;
      const kind = actual === predicted ? "right" : "wrong";
      // A square root keeps the many rare confusions apart; past 60 % the number could not be read.
      const depth = images ? Math.round(kind === "right" ? 25 * share : Math.min(60, 4 + 90 * Math.sqrt(share))) : 0;
      return element("button", { type: "button", class: kind, style: `--depth: ${depth}%`, tabindex: actual + predicted ? -1 : 0,
        "aria-label": `actual ${classes[actual]}, predicted ${classes[predicted]}: ${count(images)} ${images === 1 ? "image" : "images"}`,
        onclick: (event) => {
          for (const each of buttons.flat()) each.removeAttribute("aria-current");
          event.currentTarget.setAttribute("aria-current", true);
          place.replaceChildren(...cell(experiment, actual, predicted));
        },
        onkeydown: (event) => move(event, actual, predicted) }, images ? String(images) : "·");
    });
  });
  const move = (event, actual, predicted) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const target = moves && buttons[actual + moves[0]]?.[predicted + moves[1]];
    if (!target) return;
    event.preventDefault();
    event.currentTarget.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  };
  const long = classes.some((name) => name.length > 3);
  return [element("h4", {}, "Confusion matrix"),
    element("div", { class: "beside" },
      element("div", { class: "scroll" }, element("table", { class: `matrix${long ? " long" : ""}` },
        element("caption", {}, "Rows: actual class. Columns: predicted class."),
        element("thead", {}, element("tr", {}, element("td"), classes.map((name) => element("th", { scope: "col" }, element("span", {}, name))), element("th", { scope: "col" }, element("span", {}, "recall")))),
        element("tbody", {}, classes.map((name, actual) => element("tr", {}, element("th", { scope: "row" }, name),
          buttons[actual].map((button) => element("td", {}, button)), element("td", { class: "recall" }, percent(experiment.recall[actual], 1))))))),
      place)];
}

function cell(experiment, actual, predicted) {
  const { classes, examples } = experiment;
  const images = experiment.confusion[actual][predicted];
  const shown = examples.images.map((_, index) => index).filter((index) => examples.actual[index] === actual && examples.predicted[index] === predicted);
  const told = actual === predicted ? `${classes[actual]}, recognised` : `${classes[actual]}, taken for ${classes[predicted]}`;
  const all = shown.length < images ? `; the ${shown.length} that the network was surest of` : "";
  return [element("p", {}, element("b", {}, told), `: ${count(images)} ${images === 1 ? "image" : "images"}${all}.`),
    element("div", { class: "tiles" }, shown.map((index) => tile(experiment, index)))];
}

// An image of the experiment's sheet with what it was taken for.
function tile(experiment, index) {
  const { classes, examples, image_shape: [height, width] } = experiment;
  const actual = classes[examples.actual[index]], predicted = classes[examples.predicted[index]];
  const sure = percent(examples.probability[index], 0);
  const canvas = element("canvas", { width, height, role: "img", "aria-label": `test image ${examples.images[index]}: ${actual}` });
  sheetOf(experiment).then((sheet) => canvas.getContext("2d").drawImage(sheet, (index % examples.columns) * width,
    Math.floor(index / examples.columns) * height, width, height, 0, 0, width, height));
  return element("figure", { class: "tile" }, canvas, element("figcaption", {},
    actual === predicted ? `${actual}, ${sure}` : `${actual} → ${predicted}, ${sure}`, element("span", { class: "muted" }, `no. ${examples.images[index]}`)));
}

function sheetOf(experiment) {
  if (!experiment.sheet) {
    const image = new Image();
    image.src = `data:image/png;base64,${experiment.examples.sheet}`;
    experiment.sheet = image.decode().then(() => image);
  }
  return experiment.sheet;
}

function mistakes(experiment) {
  const { examples } = experiment;
  const gap = (index) => examples.probability[index] - examples.probability_of_actual[index];
  const worst = examples.images.map((_, index) => index).filter((index) => examples.actual[index] !== examples.predicted[index])
    .sort((one, other) => gap(other) - gap(one)).slice(0, 24);
  return [element("h4", {}, "Mistakes"),
    worst.length ? element("p", { class: "muted" }, "The wrong answers that the network was surest of: actual → predicted, and how sure.") : element("p", {}, "It made none."),
    element("div", { class: "tiles" }, worst.map((index) => tile(experiment, index)))];
}

function calibration({ calibration: { counts, confidence, accuracy, error } }) {
  const most = Math.max(...counts);
  const points = counts.map((images, bin) => ({ images, x: confidence[bin], y: accuracy[bin] })).filter(({ images }) => images)
    .map(({ images, x, y }) => ({ x, y, r: 3 + 7 * Math.sqrt(images / most), text: `${count(images)} images: ${percent(x)} sure, ${percent(y)} right` }));
  const axis = (label) => ({ label, domain: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1], text: (value) => percent(value, 0) });
  return [element("h4", {}, "Calibration"),
    element("figure", { class: "chart" },
      element("figcaption", {}, `How often it is right (upwards) when it is so sure. On the line it knows how sure to be; a dot's area is its number of images. Error ${percent(error)}.`),
      pointChart(points, { title: `Calibration, error ${percent(error)}`, height: 300, x: axis("how sure"), y: axis("how often right") },
        ({ across, down }) => [shape("line", { class: "ideal", x1: across(0), y1: down(0), x2: across(1), y2: down(1) })])),
    element("details", {}, element("summary", {}, "Calibration as a table"), table("Bins", ["images", "how sure", "how often right"],
      counts.map((images, bin) => ({ images, bin })).filter(({ images }) => images).map(({ images, bin }) => [count(images), percent(confidence[bin]), percent(accuracy[bin])])))];
}

function weights(experiment) {
  const { image_shape: [height, width, channels], sizes } = experiment;
  const units = unitsOf(experiment, 100);
  const canvas = element("canvas", { class: "weights", role: "img", "aria-label": `Weights of ${units.length} units of the first layer` });
  const columns = Math.ceil(Math.sqrt(units.length)) || 1;
  const gap = 2, rows = Math.ceil(units.length / columns);
  canvas.width = columns * (width + gap) - gap;
  canvas.height = Math.max(1, rows * (height + gap) - gap);
  const draw = () => {
    const context = canvas.getContext("2d");
    const [zero, high, low] = ["--weight-zero", "--weight-high", "--weight-low"].map((name) => rgb(theme(name)));
    units.forEach((unit, index) => {
      const most = unit.reduce((one, other) => Math.max(one, Math.abs(other)), 0) || 1;
      const image = context.createImageData(width, height);
      for (let pixel = 0; pixel < width * height; pixel += 1) {
        for (let band = 0; band < 3; band += 1) {
          const share = unit[pixel * channels + (channels === 3 ? band : 0)] / most;
          const end = share > 0 ? high : low;
          image.data[4 * pixel + band] = channels === 3 ? 127.5 * (1 + share) : zero[band] + (end[band] - zero[band]) * Math.sqrt(Math.abs(share));
        }
        image.data[4 * pixel + 3] = 255;
      }
      context.putImageData(image, (index % columns) * (width + gap), Math.floor(index / columns) * (height + gap));
    });
  };
  keepDrawn(canvas, draw);
  const told = units.length < sizes[1] ? `${units.length} of ${count(sizes[1])} units` : `all ${count(sizes[1])} units`;
  return [element("h4", {}, "Weights"),
    units.length ? element("figure", { class: "chart" }, element("figcaption", {}, `What ${told} of the first layer look for. ${channels === 3
      ? "Grey is no weight, a colour a weight for it."
      : "Orange: ink there speaks for the unit; blue: against it."}`), canvas) : element("p", { class: "muted" }, "Not in this page: it would be too large.")];
}

const rgb = (text) => [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));

function search({ search: found }) {
  if (!found) return [];
  const told = found.values.map((values, trial) => `${found.axes.map((axis, index) => `${axis} ${setting(values[index])}`).join(", ")}: ${found.valid_accuracy[trial] === null ? "failed" : percent(found.valid_accuracy[trial])}`);
  const known = found.valid_accuracy.map((accuracy, trial) => ({ accuracy, trial })).filter(({ accuracy }) => accuracy !== null);
  const scores = known.map(({ accuracy }) => accuracy);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const room = (high - low || 0.01) * 0.12;
  const domain = [Math.max(0, low - room), Math.min(1, high + room)];
  const readout = element("output", { class: "readout", "aria-live": "polite" }, `Best: ${told[found.best]}`);
  const charts = element("div", { class: "columns" });
  const choose = (index) => {
    readout.textContent = told[known[index].trial];
    for (const dot of charts.querySelectorAll(".dot")) dot.classList.toggle("chosen", +dot.dataset.point === index);
  };
  charts.append(...found.axes.map((axis, index) => {
    const values = found.values.map((each) => each[index]);
    const numeric = values.every((value) => typeof value === "number");
    const distinct = [...new Set(values.map((value) => setting(value)))];
    if (numeric) distinct.sort((one, other) => one - other);
    const few = distinct.length <= 8;
    const log = numeric && !few && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 30;
    const at = (value) => (few || !numeric ? distinct.indexOf(setting(value)) : value);
    const places = values.map(at);
    const ends = few || !numeric ? [-0.5, distinct.length - 0.5] : [Math.min(...places), Math.max(...places)];
    return element("figure", { class: "chart" }, element("figcaption", {}, `Valid accuracy by ${axis}`),
      pointChart(known.map(({ accuracy, trial }) => ({ x: places[trial], y: accuracy, text: told[trial], marked: trial === found.best })), {
        title: `Valid accuracy by ${axis}`, height: 240,
        x: { label: "", domain: ends, log, ticks: few || !numeric ? distinct.map((_, each) => each) : log ? decades(...ends) : ticks(...ends, 4), text: (value) => (few || !numeric ? distinct[value] : number(value)) },
        y: { label: "valid accuracy", domain, ticks: ticks(...domain, 4), text: (value) => percent(value, 1) } }, () => [], choose));
  }));
  const best = [...known].sort((one, other) => other.accuracy - one.accuracy || one.trial - other.trial);
  return [element("h4", {}, "Search"),
    element("p", { class: "muted" }, `${count(found.values.length)} trials by their accuracy on the valid part; the ring is the one that was kept. Point at one to find it in every chart.`),
    charts, readout,
    element("details", {}, element("summary", {}, "Trials as a table, best first"), table("Trials", ["trial", ...found.axes, "valid accuracy"],
      best.map(({ accuracy, trial }) => [String(trial), ...found.values[trial].map(setting), percent(accuracy)])))];
}
