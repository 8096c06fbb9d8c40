// A network's parameters from the page's data, and its answer to an image.

const ACTIVATIONS = {
  identity: (value) => value,
  sigmoid: (value) => 1 / (1 + Math.exp(-value)),
  tanh: Math.tanh,
  relu: (value) => Math.max(0, value),
  leaky_relu: (value) => Math.max(0.01 * value, value),
};

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// Three bytes each: the upper ones of a float32.
function numbersOf(text) {
  const given = bytesOf(text);
  const bits = new Uint32Array(given.length / 3);
  for (let index = 0; index < bits.length; index += 1) {
    bits[index] = (given[3 * index] << 8) | (given[3 * index + 1] << 16) | (given[3 * index + 2] << 24);
  }
  return new Float32Array(bits.buffer);
}

// [{inputs, outputs, weights, biases}], weights row by row; null where the network is not in the page.
function layersOf(experiment) {
  if (!experiment.parameters || !(experiment.activation in ACTIVATIONS)) return null;
  if (!experiment.layers) {
    const numbers = numbersOf(experiment.parameters);
    let start = 0;
    experiment.layers = experiment.sizes.slice(1).map((outputs, index) => {
      const inputs = experiment.sizes[index];
      const biases = start + inputs * outputs;
      const layer = { inputs, outputs, weights: numbers.subarray(start, biases), biases: numbers.subarray(biases, biases + outputs) };
      start = biases + outputs;
      return layer;
    });
  }
  return experiment.layers;
}

// The probabilities that a network gives the classes for an image's bytes.
function probabilitiesOf(experiment, image) {
  const layers = layersOf(experiment);
  let values = Float64Array.from(image);
  for (const [index, { outputs, weights, biases }] of layers.entries()) {
    const sums = Float64Array.from(biases);
    values.forEach((value, row) => {
      if (value !== 0) for (let unit = 0; unit < outputs; unit += 1) sums[unit] += value * weights[row * outputs + unit];
    });
    values = index < layers.length - 1 ? sums.map(ACTIVATIONS[experiment.activation]) : sums;
  }
  const highest = Math.max(...values);
  const shares = values.map((value) => Math.exp(value - highest));
  const total = shares.reduce((one, other) => one + other);
  return Array.from(shares, (share) => share / total);
}

// Rows of numbers, one for each unit of the first layer that is shown.
function unitsOf(experiment, most) {
  const layers = layersOf(experiment);
  if (layers) {
    const { inputs, outputs, weights } = layers[0];
    return Array.from({ length: Math.min(outputs, most) }, (_, unit) =>
      Float64Array.from({ length: inputs }, (_, row) => weights[row * outputs + unit]));
  }
  if (!experiment.weights) return [];
  const numbers = new Int8Array(bytesOf(experiment.weights).buffer);
  const features = experiment.sizes[0];
  return Array.from({ length: numbers.length / features }, (_, unit) =>
    Float64Array.from(numbers.subarray(unit * features, (unit + 1) * features)));
}
