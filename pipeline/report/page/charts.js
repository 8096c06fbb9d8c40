// Charts as SVG: lines with a cursor that mouse and arrow keys move, and points.

const DASHES = ["none", "7 4", "2 3", "9 3 2 3"];
const colour = (index) => `var(--series-${index % 7})`;

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => power * each >= rough * 0.999);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index += 1) {
    found.push(+(index * step).toPrecision(12));
  }
  return found;
}

// Of a logarithmic axis: 1, 2 and 5 of each power of ten, or even steps where these are fewer than three.
function decades(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const digit of high / low > 1000 ? [1] : [1, 2, 5]) {
      const value = +(digit * 10 ** power).toPrecision(12);
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found.length < 3 ? ticks(low, high, 5) : found;
}

function scale([low, high], [from, to], log = false) {
  const apply = log ? Math.log : (value) => value;
  const start = apply(low), span = apply(high) - start || 1;
  return (value) => from + ((apply(value) - start) / span) * (to - from);
}

// A frame with two axes. options: title, x and y: {label, domain, ticks, text, log}, height.
function frame(width, options) {
  const { x, y } = options;
  const size = { left: 52, right: 12, top: 10, bottom: 40, width, height: options.height };
  const across = scale(x.domain, [size.left, width - size.right], x.log);
  const down = scale(y.domain, [size.height - size.bottom, size.top], y.log);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${size.height}`, width, height: size.height,
    role: "img", "aria-label": options.title });
  for (const value of y.ticks) {
    svg.append(
      shape("line", { class: "grid", x1: size.left, x2: width - size.right, y1: down(value), y2: down(value) }),
      shape("text", { class: "tick", x: size.left - 6, y: down(value) + 4, "text-anchor": "end" }, y.text(value)));
  }
  for (const value of x.ticks) {
    const isLast = across(value) > width - size.right - 1;
    svg.append(
      shape("line", { class: "mark", x1: across(value), x2: across(value), y1: size.height - size.bottom, y2: size.height - size.bottom + 4 }),
      shape("text", { class: "tick", x: across(value) + (isLast ? size.right : 0), y: size.height - size.bottom + 17, "text-anchor": isLast ? "end" : "middle" }, x.text(value)));
  }
  svg.append(
    shape("line", { class: "axis", x1: size.left, x2: width - size.right, y1: size.height - size.bottom, y2: size.height - size.bottom }),
    shape("text", { class: "label", x: (size.left + width - size.right) / 2, y: size.height - 5, "text-anchor": "middle" }, x.label));
  return { svg, across, down, size };
}

function sample(line) {
  return shape("svg", { width: 26, height: 10, "aria-hidden": "true" },
    shape("line", { x1: 1, x2: 25, y1: 5, y2: 5, class: "line", style: `stroke: ${line.colour}`, "stroke-dasharray": line.dash }));
}

function legend(series) {
  return element("ul", { class: "legend" }, series.map((line) => element("li", {}, sample(line), line.name)));
}

function isKnown(column) {
  return column.some((value) => value !== null);
}

// series: [{name, colour, dash, x: [...], y: [... or null]}]. options: title, label of x, text of a y, log, height,
// limits of y, legend: false where the caller has one, empty: what to say where there is no line.
function lineChart(series, options) {
  const lines = series.filter((line) => isKnown(line.y));
  const readout = element("output", { class: "readout", "aria-live": "polite" });
  const plot = element("div", { class: "plot" });
  const figure = element("figure", { class: "chart" }, element("figcaption", {}, options.title), options.legend === false ? null : legend(lines), plot, readout);
  if (!lines.length) {
    plot.append(element("p", { class: "muted" }, options.empty ?? "Nothing was measured."));
    return figure;
  }
  const places = [...new Set(lines.flatMap((line) => line.x))].sort((one, other) => one - other);
  const values = lines.flatMap((line) => line.y).filter((value) => value !== null && (!options.log || value > 0));
  let low = Math.min(...values), high = Math.max(...values);
  if (!options.log) {
    const room = (high - low || Math.abs(high) || 1) * 0.05;
    [low, high] = [low - room, high + room];
    if (options.limits) [low, high] = [Math.max(low, options.limits[0]), Math.min(high, options.limits[1])];
  } else if (low === high) [low, high] = [low / 2, high * 2];
  let chosen = null;
  keepDrawn(plot, (width) => {
    const wide = [places[0], places.at(-1) > places[0] ? places.at(-1) : places[0] + 1];
    const { svg, across, down, size } = frame(width, {
      title: `${options.title}. ${lines.map((line) => summary(line, options)).join("; ")}. Left and right arrow keys read the values.`,
      height: options.height ?? 260,
      x: { label: options.label, domain: wide, ticks: ticks(...wide, Math.max(3, width / 110)).filter(Number.isInteger), text: count },
      y: { domain: [low, high], log: options.log, text: options.tick ?? options.text,
        ticks: options.log ? decades(low, high) : ticks(low, high, 5) },
    });
    svg.setAttribute("tabindex", 0);
    for (const line of lines) {
      const points = line.x.map((x, index) => [x, line.y[index]]).filter(([, y]) => y !== null && (!options.log || y > 0));
      svg.append(shape("path", { class: "line", style: `stroke: ${line.colour}`, "stroke-dasharray": line.dash,
        d: points.map(([x, y], index) => `${index ? "L" : "M"}${across(x).toFixed(1)} ${down(y).toFixed(1)}`).join("") }));
      if (points.length === 1) svg.append(shape("circle", { r: 3, cx: across(points[0][0]), cy: down(points[0][1]), style: `fill: ${line.colour}` }));
    }
    const cursor = shape("g", { class: "cursor" });
    svg.append(cursor);
    const show = (index) => {
      chosen = index;
      cursor.replaceChildren();
      if (index === null) return;
      const at = places[index];
      cursor.append(shape("line", { x1: across(at), x2: across(at), y1: size.top, y2: size.height - size.bottom }));
      const told = [];
      for (const line of lines) {
        const y = line.y[line.x.indexOf(at)] ?? null;
        if (y === null) continue;
        if (!options.log || y > 0) cursor.append(shape("circle", { r: 3.5, cx: across(at), cy: down(y), style: `fill: ${line.colour}` }));
        told.push(element("span", {}, `${line.name} `, element("b", {}, options.text(y))));
      }
      readout.replaceChildren(element("span", {}, `${options.label} ${count(at)}`), ...told);
    };
    svg.addEventListener("pointermove", (event) => {
      const x = event.clientX - svg.getBoundingClientRect().left;
      const distance = (index) => Math.abs(across(places[index]) - x);
      let nearest = 0;
      for (let index = 1; index < places.length; index += 1) if (distance(index) < distance(nearest)) nearest = index;
      show(nearest);
    });
    svg.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
      if (!(event.key in moves)) return;
      event.preventDefault();
      const next = chosen === null && event.key === "ArrowRight" ? 0 : (chosen ?? places.length) + moves[event.key];
      show(Math.min(Math.max(next, 0), places.length - 1));
    });
    plot.replaceChildren(svg);
    show(chosen);
  });
  readout.append(element("span", { class: "muted" }, "Point at the chart, or choose it and use the arrow keys, to read its values."));
  return figure;
}

function summary(line, options) {
  const known = line.y.filter((value) => value !== null);
  return `${line.name}: from ${options.text(known[0])} to ${options.text(known.at(-1))}`;
}

// points: [{x, y, r, text, marked}] where text tells what the point is; x and y as for frame.
function pointChart(points, options, extras = () => [], chosen = () => {}) {
  const plot = element("div", { class: "plot" });
  keepDrawn(plot, (width) => {
    const made = frame(width, options);
    made.svg.append(...extras(made));
    for (const [index, point] of points.entries()) {
      const dot = shape("circle", { class: point.marked ? "dot marked" : "dot", "data-point": index,
        r: point.r ?? 4, cx: made.across(point.x), cy: made.down(point.y), onpointerenter: () => chosen(index) },
      shape("title", {}, point.text));
      made.svg.append(dot);
    }
    plot.replaceChildren(made.svg);
  });
  return plot;
}
