// Arithmetic between 8-bit picture values, n-bit pixels and the model's x, as glow_deploy.images.pixels has it.

export const valuesToPixels = (values, bits) => values.map((value) => value >> (8 - bits));

export function pixelsToValues(pixels, bits) {
  const top = 2 ** bits - 1;
  return pixels.map((pixel) => Math.floor((pixel * 510 + top) / (2 * top)));
}

const below = new Float32Array(1);
const bitsOf = new Uint32Array(below.buffer);

// The next smaller float32 of a positive one.
function nextBelow(value) {
  below[0] = value;
  bitsOf[0] -= 1;
  return below[0];
}

// u is the place in the bin: 0.5 for all, or noise for each. Rounding never moves a value into the next bin.
export function pixelsToX(pixels, bits, u = null) {
  const scale = 2 ** -bits;
  const x = new Float32Array(pixels.length);
  for (let i = 0; i < x.length; i += 1) {
    x[i] = Math.fround(pixels[i] + (u ? u[i] : 0.5)) * scale;
    if (u && x[i] >= (pixels[i] + 1) * scale) x[i] = nextBelow((pixels[i] + 1) * scale);
  }
  return x;
}

export const valuesToX = (values, bits) => pixelsToX(valuesToPixels(values, bits), bits);

// What is not finite becomes 0; whoever shows it marks it.
export function xToPixels(x, bits) {
  const levels = 2 ** bits;
  return Uint8Array.from(x, (value) => (Number.isFinite(value)
    ? Math.min(Math.floor(Math.min(Math.max(value, 0), 1) * levels), levels - 1) : 0));
}

export const xToValues = (x, bits) => pixelsToValues(xToPixels(x, bits), bits);

export const bitsPerDim = (logProb, dims, bits) => bits - logProb / (dims * Math.LN2);

export const isFinite = (array) => array.every(Number.isFinite);
