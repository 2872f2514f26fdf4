// Picture files as the model needs them: cropped, resampled and turned grey as `glow-deploy encode --resize` does it, by
// Pillow's own fixed-point Lanczos. The browser decodes the file.

import { Refused } from "./refused.js";

const PRECISION = 2 ** 22;

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const lanczos = (x) => (x > -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0);

// For each output place: where its input begins, and the weights from there on.
function weights(length, from, to, out) {
  const scale = (to - from) / out;
  const wide = Math.max(scale, 1);
  return Array.from({ length: out }, (_, place) => {
    const centre = from + (place + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - 3 * wide + 0.5), 0);
    const last = Math.min(Math.trunc(centre + 3 * wide + 0.5), length);
    const raw = Array.from({ length: last - first }, (_, i) => lanczos((i + first - centre + 0.5) / wide));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, fixed: raw.map((weight) => Math.trunc((weight / sum) * PRECISION + (weight < 0 ? -0.5 : 0.5))) };
  });
}

const clip = (sum) => Math.min(Math.max(Math.floor((sum + PRECISION / 2) / PRECISION), 0), 255);

// One plane, uint8 [height, width], from a box of it to [outH, outW]: first along rows, then along columns.
function resample(plane, width, height, box, outW, outH) {
  let rows = plane;
  if (width !== outW || box.left !== 0 || box.right !== width) {
    rows = new Uint8Array(height * outW);
    weights(width, box.left, box.right, outW).forEach(({ first, fixed }, x) => {
      for (let y = 0; y < height; y += 1) {
        let sum = 0;
        for (let i = 0; i < fixed.length; i += 1) sum += plane[y * width + first + i] * fixed[i];
        rows[y * outW + x] = clip(sum);
      }
    });
  }
  if (height === outH && box.top === 0 && box.bottom === height) return rows;
  const out = new Uint8Array(outH * outW);
  weights(height, box.top, box.bottom, outH).forEach(({ first, fixed }, y) => {
    for (let x = 0; x < outW; x += 1) {
      let sum = 0;
      for (let i = 0; i < fixed.length; i += 1) sum += rows[(first + i) * outW + x] * fixed[i];
      out[y * outW + x] = clip(sum);
    }
  });
  return out;
}

// The middle of a picture with the sides of another.
function middle(width, height, outW, outH) {
  const ratio = outW / outH;
  let [cropW, cropH] = [width, height];
  if (width / height > ratio) cropW = ratio * height;
  else if (width / height < ratio) cropH = width / ratio;
  const [left, top] = [(width - cropW) / 2, (height - cropH) / 2];
  return { left, top, right: left + cropW, bottom: top + cropH };
}

async function decoded(bytes, name, limits) {
  if (!bytes.byteLength) throw new Refused(`${name} is empty`);
  if (bytes.byteLength > limits.bytes) throw new Refused(`${name} is larger than ${limits.bytes / 2 ** 20} MB`);
  let bitmap;
  try {
    // Values as they are in the file, turned as it says: no colour profile, no multiplied alpha.
    bitmap = await createImageBitmap(new Blob([bytes]), {
      colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image",
    });
  } catch {
    throw new Refused(`${name} is not a picture that can be read here, or is damaged`);
  }
  const { width, height } = bitmap;
  if (width * height > limits.pixels) {
    bitmap.close();
    throw new Refused(`${name} has more than ${limits.pixels / 1e6} million pixels; make it smaller first`);
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, rgba: context.getImageData(0, 0, width, height).data };
}

// Returns 8-bit values, uint8 [C, H, W], and what was done to the picture, one sentence each.
export async function readPicture(bytes, name, image, limits) {
  const { width, height, rgba } = await decoded(bytes, name, limits);
  const size = width * height;
  const notes = [];
  let planes = [0, 1, 2].map(() => new Uint8Array(size));
  let [clear, coloured] = [false, false];
  for (let i = 0; i < size; i += 1) {
    const alpha = rgba[4 * i + 3];
    clear ||= alpha !== 255;
    for (let c = 0; c < 3; c += 1) planes[c][i] = Math.round((rgba[4 * i + c] * alpha + 255 * (255 - alpha)) / 255);
    coloured ||= planes[0][i] !== planes[1][i] || planes[0][i] !== planes[2][i];
  }
  if (clear) notes.push("transparent in places, laid over white");
  const [outW, outH] = [image.width, image.height];
  if (width !== outW || height !== outH) {
    const cropped = height * outW !== width * outH ? ", cropped in the middle and" : ",";
    notes.push(`${width}x${height} pixels${cropped} resampled to ${outW}x${outH}, which the model takes`);
  }
  if (image.channels === 1) {
    if (coloured) notes.push("in colour, turned grey, which the model takes");
    const [red, green, blue] = planes;
    planes = [red.map((value, i) => (value * 19595 + green[i] * 38470 + blue[i] * 7471 + 0x8000) >> 16)];
  }
  const box = middle(width, height, outW, outH);
  const values = new Uint8Array(image.channels * outW * outH);
  planes.forEach((plane, c) => values.set(resample(plane, width, height, box, outW, outH), c * outW * outH));
  return { values, notes };
}
