// Latents as the sliders ask for them, as glow_deploy.latents.ways and glow_deploy.explore.changes make them, in float64.

import { Refused } from "./refused.js";

const PARALLEL = 1e-6; // radians: below it an arc and its chord agree
const OPPOSITE = 1e-5; // of two unit vectors

const norm = (array) => Math.sqrt(array.reduce((sum, value) => sum + value * value, 0));
const line = (a, b, t) => a.map((value, i) => (1 - t) * value + t * b[i]);

function arc(a, b, t, level) {
  const [longA, longB] = [norm(a), norm(b)];
  if (!longA || !longB) return line(a, b, t);
  const [u, v] = [a.map((value) => value / longA), b.map((value) => value / longB)];
  const apart = norm(u.map((value, i) => value - v[i]));
  const together = norm(u.map((value, i) => value + v[i]));
  if (together < OPPOSITE) {
    throw new Refused(`z${level} of the one points exactly away from z${level} of the other, so that there is no shortest `
      + "great circle between them; interpolate linearly");
  }
  const angle = 2 * Math.atan2(apart, together);
  let direction = line(u, v, t);
  if (angle >= PARALLEL) {
    const [first, second] = [Math.sin((1 - t) * angle), Math.sin(t * angle)];
    direction = u.map((value, i) => (first * value + second * v[i]) / Math.sin(angle));
  }
  const length = (1 - t) * longA + t * longB;
  return direction.map((value) => length * value);
}

// At 0 and 1 the ends to the last bit.
function blend(a, b, t, mode) {
  if (t === 0) return a;
  if (t === 1) return b;
  return a.map((level, i) => {
    const [from, to] = [Float64Array.from(level), Float64Array.from(b[i])];
    return Float32Array.from(mode === "spherical" ? arc(from, to, t, i + 1) : line(from, to, t));
  });
}

// First along the way to the other image, then scaled, then along the attributes. vectors: by name, a level each.
export function changed(z, change, other, vectors) {
  if (change.share && !other) throw new Refused("open a second image to go to first");
  const scales = z.map((_, i) => change.temperature * (change.temperatures.length ? change.temperatures[i] : 1));
  const between = change.share ? blend(z, other, change.share, change.mode) : z;
  return between.map((level, i) => {
    const found = Float64Array.from(level, (value) => value * scales[i]);
    for (const [name, amount] of Object.entries(change.attributes)) {
      found.forEach((value, k) => { found[k] = value + amount * vectors[name][i][k]; });
    }
    return Float32Array.from(found);
  });
}

// A part of the way from one to the other.
export function part(start, target, kept) {
  if (kept === 1) return target;
  return start.map((level, i) => Float32Array.from(level, (value, k) => value + kept * (target[i][k] - value)));
}
