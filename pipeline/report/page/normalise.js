// From a picture to an image as the data set stores it: the rule of pipeline/commands/shared/normalise.py for
// one channel, step by step and with its names. A test holds the two against each other.

const BOX = 20 / 28;
const FAINTEST_BOX = 0.25;
const LEAST_CONTRAST = 8;
const DARK_ENOUGH = 200;

// Half to even, as Python and NumPy round.
function rint(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

// rgba: bytes of a picture. Returns {values, rows, columns}: levels from 0 to 255.
function greyOnPaper(rgba, columns, rows) {
  const values = new Float64Array(rows * columns);
  const luma = (index) => (rgba[index] * 299 + rgba[index + 1] * 587 + rgba[index + 2] * 114) / 1000;
  let covered = 0, light = 0;
  for (let index = 0; index < values.length; index += 1) {
    const opacity = rgba[4 * index + 3] / 255;
    covered += opacity;
    light += luma(4 * index) * opacity;
  }
  const paper = covered > 0 && light / covered > 127.5 ? 0 : 255;
  for (let index = 0; index < values.length; index += 1) {
    const opacity = rgba[4 * index + 3] / 255;
    values[index] = opacity === 1 ? luma(4 * index) : luma(4 * index) * opacity + paper * (1 - opacity);
  }
  return { values, rows, columns };
}

function quantile(sorted, share) {
  const place = share * (sorted.length - 1), below = Math.floor(place);
  return sorted[below] + (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]) * (place - below);
}

// How much each pixel differs from the paper; null where there is nothing to see.
function inkOf({ values, rows, columns }) {
  const border = [];
  for (let column = 0; column < columns; column += 1) border.push(values[column], values[(rows - 1) * columns + column]);
  for (let row = 0; row < rows; row += 1) border.push(values[row * columns], values[row * columns + columns - 1]);
  const ascending = (list) => list.sort((one, other) => one - other);
  const paper = quantile(ascending(border), 0.5);
  const lowest = values.reduce((one, other) => Math.min(one, other)), highest = values.reduce((one, other) => Math.max(one, other));
  if (highest - lowest < LEAST_CONTRAST) return null;
  const dark = paper - lowest > highest - paper;
  const ink = values.map((value) => Math.max(dark ? paper - value : value - paper, 0));
  const unevenness = 1.5 * quantile(ascending(border.map((value) => Math.abs(value - paper))), 0.95);
  const least = Math.min(unevenness, 0.4 * ink.reduce((one, other) => Math.max(one, other)));
  return { values: ink.map((value) => (value <= least ? 0 : value)), rows, columns };
}

function centreOfMass({ values, rows, columns }) {
  let total = 0, down = 0, across = 0;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const value = values[row * columns + column];
      total += value;
      down += value * row;
      across += value * column;
    }
  }
  return [down / total, across / total];
}

// What Pillow's resize with its Hamming filter gives for a band of floats: each axis in turn, float32 between.
function resized(band, rows, columns) {
  if (band.rows === rows && band.columns === columns) return band;
  const across = resizedAxis(Float32Array.from(band.values), band.rows, band.columns, columns, false);
  return { values: resizedAxis(across, columns, band.rows, rows, true), rows, columns };
}

// `lines` lines of `length` numbers, rows or columns of a band, made `wanted` numbers long.
function resizedAxis(values, lines, length, wanted, areColumns) {
  if (length === wanted) return values;
  const [line, next, madeLine, madeNext] = areColumns ? [1, lines, 1, lines] : [length, 1, wanted, 1];
  const ratio = length / wanted, support = Math.max(ratio, 1);
  const made = new Float32Array(lines * wanted);
  for (let target = 0; target < wanted; target += 1) {
    const centre = (target + 0.5) * ratio;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(length, Math.trunc(centre + support + 0.5));
    const weights = [];
    for (let source = first; source < last; source += 1) weights.push(hamming((source - centre + 0.5) / support));
    const total = weights.reduce((one, other) => one + other, 0);
    for (let index = 0; index < lines; index += 1) {
      let sum = 0;
      for (let each = 0; each < weights.length; each += 1) sum += values[index * line + (first + each) * next] * (weights[each] / total);
      made[index * madeLine + target * madeNext] = sum;
    }
  }
  return made;
}

function hamming(place) {
  const x = Math.abs(place);
  if (x === 0) return 1;
  if (x >= 1) return 0;
  return (Math.sin(x * Math.PI) / (x * Math.PI)) * (0.54 + 0.46 * Math.cos(x * Math.PI));
}

const bytes = (values, factor = 1) => Uint8Array.from(values, (value) => rint(Math.min(Math.max(value * factor, 0), 255)));

// Light ink on black, scaled to a box and centred by its mass: rows * columns bytes; null for a blank picture.
function centred(grey, rows, columns) {
  const ink = inkOf(grey);
  if (ink === null) return null;
  const most = ink.values.reduce((one, other) => Math.max(one, other));
  let top = Infinity, bottom = -1, left = Infinity, right = -1;
  ink.values.forEach((value, index) => {
    if (value <= FAINTEST_BOX * most) return;
    const row = Math.floor(index / ink.columns), column = index % ink.columns;
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
    [left, right] = [Math.min(left, column), Math.max(right, column)];
  });
  const extent = [bottom - top + 1, right - left + 1];
  const least = Math.min(rows, columns);
  if (ink.rows === rows && ink.columns === columns && isInPlace(ink, extent)) {
    return bytes(ink.values, most >= DARK_ENOUGH ? 1 : 255 / most);
  }
  const cut = new Float64Array(extent[0] * extent[1]);
  for (let row = 0; row < extent[0]; row += 1) {
    for (let column = 0; column < extent[1]; column += 1) {
      cut[row * extent[1] + column] = ink.values[(top + row) * ink.columns + left + column];
    }
  }
  const factor = (BOX * least) / Math.max(...extent);
  const box = resized({ values: cut, rows: extent[0], columns: extent[1] },
    Math.max(1, rint(extent[0] * factor)), Math.max(1, rint(extent[1] * factor)));
  const middle = centreOfMass(box);
  const place = (whole, centre, part) => Math.min(Math.max(rint(whole / 2 - centre), 0), whole - part);
  const down = place(rows, middle[0], box.rows), across = place(columns, middle[1], box.columns);
  const image = new Float64Array(rows * columns);
  for (let row = 0; row < box.rows; row += 1) {
    for (let column = 0; column < box.columns; column += 1) {
      image[(down + row) * columns + across + column] = box.values[row * box.columns + column];
    }
  }
  return bytes(image, 255 / image.reduce((one, other) => Math.max(one, other)));
}

function isInPlace(ink, extent) {
  const size = [ink.rows, ink.columns];
  const off = centreOfMass(ink).map((centre, axis) => Math.abs(centre - (size[axis] - 0.5) / 2));
  return Math.max(...off) <= 1 && Math.abs(Math.max(...extent) / Math.min(...size) - BOX) <= 3 / 28;
}
