// Draw a digit, and what every network takes it for.

const PEN = 22, SIDE = 280, LARGEST = 1000;

function drawingSection(experiments) {
  const grey = experiments.filter(({ image_shape: [,, channels] }) => channels === 1);
  const able = grey.filter((experiment) => layersOf(experiment));
  if (!able.length) return null;
  const missing = grey.filter((experiment) => !able.includes(experiment)).map(({ name }) => name);
  const [height, width] = able[0].image_shape;
  const canvas = element("canvas", { id: "paper", width: SIDE, height: SIDE, tabindex: 0, role: "img",
    "aria-label": "Paper to draw a digit on: with mouse or finger, or with the arrow keys while the pen is down; the space bar lifts and lowers the pen" });
  const seen = element("canvas", { id: "seen", width, height, role: "img", "aria-label": "What the networks see" });
  const file = element("input", { type: "file", accept: "image/*", id: "file", onchange: () => file.files[0] && load(file.files[0]) });
  const verdict = element("p", { id: "verdict", role: "status" });
  const answers = element("tbody");
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  let picture = null; // of a file; else what is on the paper
  let pen = null;

  const clear = () => {
    picture = null;
    paper.fillStyle = "#ffffff";
    paper.fillRect(0, 0, SIDE, SIDE);
    answer();
  };
  const stroke = (from, to) => {
    if (picture) clear();
    paper.strokeStyle = "#000000";
    paper.lineWidth = PEN;
    paper.lineCap = "round";
    paper.beginPath();
    paper.moveTo(...from);
    // A line of no length would not be drawn.
    paper.lineTo(to[0] + 0.01, to[1]);
    paper.stroke();
  };
  const answer = () => {
    const given = picture ?? paper.getImageData(0, 0, SIDE, SIDE);
    const drawn = greyOnPaper(given.data, given.width, given.height);
    const image = centred(drawn, height, width);
    const images = new Map([[`${height} ${width}`, image]]);
    const imageFor = ({ image_shape: [rows, columns] }) => {
      const size = `${rows} ${columns}`;
      if (!images.has(size)) images.set(size, centred(drawn, rows, columns));
      return images.get(size);
    };
    show(image);
    if (image === null) {
      answers.replaceChildren(...able.map(({ name }) => element("tr", {}, element("th", { scope: "row" }, breakable(name)), element("td", {}, "–"), element("td"))));
      verdict.textContent = picture ? "There is nothing to see in this picture." : "Draw a digit: every network answers at once.";
      return;
    }
    const found = able.map((experiment) => ({ experiment, shares: probabilitiesOf(experiment, imageFor(experiment)) }));
    answers.replaceChildren(...found.map(answerRow));
    const said = found.map(({ experiment, shares }) => experiment.classes[best(shares)]);
    verdict.textContent = new Set(said).size === 1 ? `${said.length > 1 ? "All say" : "It says"} ${said[0]}.` : `They disagree: ${[...new Set(said)].join(", ")}.`;
  };
  const show = (image) => {
    const context = seen.getContext("2d");
    const pixels = context.createImageData(width, height);
    for (let index = 0; index < width * height; index += 1) {
      pixels.data.fill(image ? image[index] : 0, 4 * index, 4 * index + 3);
      pixels.data[4 * index + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
  };
  const load = async (chosen) => {
    try {
      const image = await createImageBitmap(await oriented(chosen));
      picture = levels(image);
      paper.fillStyle = "#ffffff";
      paper.fillRect(0, 0, SIDE, SIDE);
      const factor = Math.min(SIDE / image.width, SIDE / image.height);
      paper.drawImage(image, (SIDE - image.width * factor) / 2, (SIDE - image.height * factor) / 2, image.width * factor, image.height * factor);
      answer();
    } catch {
      verdict.textContent = `${chosen.name}: this is no image that the browser can read.`;
    }
    file.value = "";
  };

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  };
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    pen = at(event);
    stroke(pen, pen);
    answer();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pen || !canvas.hasPointerCapture(event.pointerId)) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) {
      const next = at(each);
      stroke(pen, next);
      pen = next;
    }
    answer();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { pen = null; });

  // With the keyboard: a pen that arrows move, and that draws while it is down.
  const mark = element("span", { class: "pen", hidden: true, "aria-hidden": "true" });
  let place = [SIDE / 2, SIDE / 4], down = false;
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (event.key === " ") down = !down;
    else if (event.key === "Delete" || event.key === "Backspace") {
      down = false;
      clear();
    } else if (!moves) return;
    event.preventDefault();
    const next = moves ? place.map((value, axis) => Math.min(Math.max(value + 8 * moves[axis], 0), SIDE)) : place;
    if (down) {
      stroke(place, next);
      answer();
    }
    place = next;
    mark.hidden = false;
    mark.classList.toggle("down", down);
    mark.style.left = `${(100 * place[0]) / SIDE}%`;
    mark.style.top = `${(100 * place[1]) / SIDE}%`;
  });
  canvas.addEventListener("blur", () => { mark.hidden = true; });

  const drop = element("div", { class: "paper" }, canvas, mark);
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) load(event.dataTransfer.files[0]);
  });

  // A picture that misses the paper would take the page's place.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

  const made = section("draw", "Draw a digit",
    element("div", { class: "drawing" },
      element("div", {}, drop,
        element("div", { class: "controls" }, element("button", { type: "button", onclick: clear }, "Clear"),
          element("label", { class: "button", for: "file" }, "Picture…", file)),
        element("p", { class: "muted" }, "Mouse, finger or arrow keys (space lowers the pen), or drop a picture here.")),
      element("figure", { class: "seen" }, seen, element("figcaption", {}, "What the networks see: the ink in a box of 20 in 28 pixels, its centre of mass in the middle")),
      element("div", { class: "answers" }, verdict,
        element("table", {}, element("caption", { class: "visually-hidden" }, "Answers"),
          element("thead", {}, element("tr", {}, ["network", "answer", "probabilities"].map((head) => element("th", { scope: "col" }, head)))), answers),
        missing.length ? element("p", { class: "muted" }, `Not in this page, which would be too large or does not know how they work: ${missing.join(", ")}.`) : null)));
  clear();
  return made;
}

const best = (shares) => shares.indexOf(Math.max(...shares));

function answerRow({ experiment, shares }) {
  const { classes, name } = experiment;
  const first = best(shares);
  const order = shares.map((_, index) => index).sort((one, other) => shares[other] - shares[one]).slice(0, 3);
  return element("tr", { "data-experiment": name, "data-probabilities": JSON.stringify(shares) }, element("th", { scope: "row" }, breakable(name)),
    element("td", { class: "answer" }, element("b", {}, classes[first]), ` ${percent(shares[first], 1)}`),
    element("td", {}, element("span", { class: "shares", role: "img", "aria-label": order.map((index) => `${classes[index]} ${percent(shares[index], 1)}`).join(", ") },
      shares.map((share, index) => element("span", { title: `${classes[index]}: ${percent(share)}`, class: index === first ? "first" : "" },
        element("span", { class: "share" }, element("span", { style: `height: ${100 * share}%` })), classes.length <= 12 && classes.every((each) => each.length < 3) ? classes[index] : "")))));
}

// A file as an image whose metadata have turned it upright.
async function oriented(chosen) {
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = reject;
    reader.readAsDataURL(chosen);
  });
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

// The pixels of an image; a side of more than LARGEST is averaged down by a whole factor.
function levels(image) {
  const factor = Math.ceil(Math.max(image.width, image.height) / LARGEST);
  const whole = element("canvas", { width: image.width, height: image.height }).getContext("2d");
  whole.drawImage(image, 0, 0);
  const { data } = whole.getImageData(0, 0, image.width, image.height);
  if (factor === 1) return { data, width: image.width, height: image.height };
  const width = Math.ceil(image.width / factor), height = Math.ceil(image.height / factor);
  const made = new Uint8ClampedArray(4 * width * height);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const sums = [0, 0, 0, 0];
      let pixels = 0;
      for (let y = row * factor; y < Math.min((row + 1) * factor, image.height); y += 1) {
        for (let x = column * factor; x < Math.min((column + 1) * factor, image.width); x += 1, pixels += 1) {
          for (let band = 0; band < 4; band += 1) sums[band] += data[4 * (y * image.width + x) + band];
        }
      }
      made.set(sums.map((sum) => sum / pixels), 4 * (row * width + column));
    }
  }
  return { data: made, width, height };
}
