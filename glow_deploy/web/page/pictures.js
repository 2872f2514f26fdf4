// What the page shows, as glow_deploy.explore.pictures draws it.

import { interleaved, png } from "./png.js";

export const LATENT_SCALE = 3;
const LOST = [255, 0, 255];
const TILE = 64, WIDEST = 720, GAP = 3;
const MAPS = {
  light: [[8, 64, 129], [102, 160, 214], [244, 245, 247], [236, 160, 90], [150, 66, 4]],
  dark: [[150, 205, 255], [66, 122, 186], [34, 41, 50], [186, 106, 44], [255, 196, 130]],
};

// values: uint8 [C, H, W]; pixels with something lost are magenta.
export async function picture(values, image, lost = null) {
  const { channels, width, height } = image;
  if (!lost?.some(Boolean)) return png(interleaved(values, channels), width, height, channels);
  const size = width * height;
  const out = new Uint8Array(3 * size);
  for (let i = 0; i < size; i += 1) {
    let gone = false;
    for (let c = 0; c < channels; c += 1) gone ||= lost[c * size + i];
    for (let c = 0; c < 3; c += 1) out[3 * i + c] = gone ? LOST[c] : values[(channels === 1 ? 0 : c) * size + i];
  }
  return png(out, width, height, 3);
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9));
}

// Grey is none, lighter too bright, darker too dark; the scale is the error in pixel steps that black and white stand for.
export async function difference(xHat, x, image) {
  const steps = 2 ** image.n_bits;
  const error = Float64Array.from(xHat, (value, i) => (value - x[i]) * steps);
  const lost = Array.from(error, (value) => !Number.isFinite(value));
  let largest = 0;
  error.forEach((value, i) => { if (lost[i]) error[i] = 0; else largest = Math.max(largest, Math.abs(value)); });
  const scale = largest > 0 ? roundUp(largest) : null;
  const values = Uint8Array.from(error, (value) => Math.min(Math.floor((scale === null ? 0.5 : 0.5 + (0.5 * value) / scale) * 256), 255));
  return { uri: await picture(values, image, lost), scale };
}

function colour(map, value) {
  const place = ((Math.min(Math.max(value / LATENT_SCALE, -1), 1) + 1) / 2) * (map.length - 1);
  const from = Math.min(Math.floor(place), map.length - 2);
  return map[from].map((part, i) => Math.round(part + (place - from) * (map[from + 1][i] - part)));
}

// The channels of one level [C, H, W] side by side, coloured around zero; the gaps are transparent.
export async function latents(z, shape, theme) {
  const [channels, height, width] = shape;
  const scale = Math.max(1, Math.round(TILE / Math.max(height, width)));
  const [cellH, cellW] = [height * scale + GAP, width * scale + GAP];
  const most = Math.max(1, Math.floor((WIDEST + GAP) / cellW));
  const columns = Math.ceil(channels / Math.ceil(channels / most));
  const rows = Math.ceil(channels / columns);
  const [outH, outW] = [rows * cellH - GAP, columns * cellW - GAP];
  const out = new Uint8Array(outH * outW * 4);
  for (let c = 0; c < channels; c += 1) {
    const [top, left] = [Math.floor(c / columns) * cellH, (c % columns) * cellW];
    for (let y = 0; y < height * scale; y += 1) {
      for (let x = 0; x < width * scale; x += 1) {
        const value = z[(c * height + Math.floor(y / scale)) * width + Math.floor(x / scale)];
        out.set([...colour(MAPS[theme], value), 255], ((top + y) * outW + left + x) * 4);
      }
    }
  }
  return { uri: await png(out, outW, outH, 4), width: outW, height: outH };
}
