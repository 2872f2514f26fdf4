// Encoding, decoding and sampling with the two graphs, and what explore's workbench makes of them.

import { bitsPerDim, isFinite, pixelsToX, valuesToPixels, valuesToX, xToPixels, xToValues } from "./pixels.js";
import { changed, part } from "./latents.js";
import { dequantisation, noise } from "./random.js";
import { Refused } from "./refused.js";

const OWN = 4, HOPELESS = 1; // see glow_deploy.directions.soundness
const HALVINGS = 10;
const REDRAWS = 32;

// As Python's :.3g and :.2g.
const short = (value, digits) => String(Number(value.toPrecision(digits)));

export class Flow {
  // site: see site.json; engine: {encode, decode}, each from {name: data} to {name: data}; vectors: of directions.
  constructor(site, engine, vectors) {
    this.site = site;
    this.engine = engine;
    this.vectors = vectors;
    this.image = site.model.image;
    this.shapes = site.model.levels;
    this.names = this.shapes.map((_, i) => `z${i + 1}`);
    this.sizes = this.shapes.map((shape) => shape.reduce((a, b) => a * b, 1));
    this.dims = this.image.channels * this.image.height * this.image.width;
  }

  // {z, logProb} of x at one class.
  async encode(x, label) {
    const out = await this.engine.encode({ x }, label);
    return { z: this.names.map((name) => out[name]), logProb: out.log_prob[0] };
  }

  async decode(z, label) {
    return (await this.engine.decode(Object.fromEntries(this.names.map((name, i) => [name, z[i]])), label)).x;
  }

  // The first sample of a seed as 8-bit values.
  async sample(seed, temperature, label) {
    const scales = this.names.map((_, i) => (Array.isArray(temperature) ? temperature[i] : temperature));
    for (const scale of scales) {
      if (!(scale >= 0 && scale <= 100)) throw new Refused("temperatures are numbers from 0 to 100");
    }
    for (let attempt = 0; attempt <= (scales.some(Boolean) ? REDRAWS : 0); attempt += 1) {
      const z = noise(seed, 0, this.sizes, attempt).map((level, i) => level.map((value) => value * Math.fround(scales[i])));
      const x = await this.decode(z, label);
      if (isFinite(x)) return xToValues(x, this.image.n_bits);
    }
    throw new Refused(`sample 0 decodes to non-finite values at temperature ${scales.join(", ")}; lower the temperature`);
  }

  // Encode 8-bit values at bin centres, measure their likelihood, and decode them again. label null: the likeliest class.
  async open(values, name, label) {
    const { draws, seed } = this.site;
    const bits = this.image.n_bits;
    const pixels = valuesToPixels(values, bits);
    const noisy = Array.from({ length: draws }, (_, draw) => pixelsToX(pixels, bits, dequantisation(seed, 0, this.dims, draw)));
    const mean = async (own) => {
      let sum = 0;
      for (const x of noisy) sum += (await this.encode(x, own)).logProb / draws;
      return sum;
    };
    const classes = this.site.model.classes;
    let [own, byClass] = [classes === null ? null : label, null];
    if (classes !== null && label === null) {
      byClass = [];
      for (let one = 0; one < classes; one += 1) byClass.push(await mean(one));
      if (!byClass.every(Number.isFinite)) throw new Refused(`${name}: the likelihood under a class is not finite`);
      own = byClass.indexOf(Math.max(...byClass));
    }
    const x = pixelsToX(pixels, bits);
    const { z, logProb } = await this.encode(x, own);
    const average = byClass ? byClass[own] : await mean(own);
    if (!z.every(isFinite) || !Number.isFinite(logProb) || !Number.isFinite(average)) {
      throw new Refused(`${name}: its latents or its likelihood are not finite`, { status: 422 });
    }
    const seen = await this.examine(z, own);
    const { tolerance } = this.site.soundness;
    const limit = Math.max(tolerance, Math.min(OWN * seen.roundTrip, HOPELESS));
    const trouble = this.sound(seen, limit) ? "" : `${name} as it is ${this.fault(seen, limit)}: this model does not invert the `
      + "image, so it cannot be edited; see `glow-deploy verify`";
    return {
      values, x, z, label: own, byClass, xHat: seen.x, limit, trouble,
      bits: bitsPerDim(average, this.dims, bits), bitsCentre: bitsPerDim(logProb, this.dims, bits),
    };
  }

  // Decode latents, and encode what comes out again.
  async examine(z, label) {
    const x = await this.decode(z, label);
    if (!isFinite(x)) return { x, overshoot: Infinity, roundTrip: Infinity };
    const overshoot = x.reduce((most, value) => Math.max(most, -value, value - 1), 0);
    const again = (await this.encode(x, label)).z;
    let roundTrip = 0;
    again.forEach((level, i) => {
      const away = level.reduce((most, value, k) => Math.max(most, Math.abs(value - z[i][k])), 0);
      roundTrip = isFinite(level) ? Math.max(roundTrip, away) : Infinity;
    });
    return { x, overshoot, roundTrip };
  }

  sound(seen, limit) { return seen.overshoot <= this.site.soundness.margin && seen.roundTrip <= limit; }

  fault(seen, limit) {
    const { margin } = this.site.soundness;
    if (!Number.isFinite(seen.overshoot)) return "decodes to non-finite values";
    if (seen.overshoot > margin) {
      const low = seen.x.reduce((a, b) => Math.min(a, b)), high = seen.x.reduce((a, b) => Math.max(a, b));
      return `decodes to values from ${short(low, 3)} to ${short(high, 3)}, beyond [${-margin}, ${1 + margin}]`;
    }
    return `re-encodes ${short(seen.roundTrip, 2)} away from itself, more than ${short(limit, 2)}`;
  }

  // Decode changed latents, scaled back towards the image as far as soundness asks for.
  async change(opened, change, other) {
    if (opened.trouble) throw new Refused(opened.trouble, { status: 422 });
    const label = change.label ?? opened.label;
    const target = changed(opened.z, change, other?.z ?? null, this.vectors);
    let [kept, fault] = [1, ""];
    let best = await this.examine(target, label);
    if (!this.sound(best, opened.limit)) {
      fault = this.fault(best, opened.limit);
      kept = 0;
      best = await this.examine(part(opened.z, target, 0), label);
      if (!this.sound(best, opened.limit)) {
        throw new Refused(`this image as class ${label} ${this.fault(best, opened.limit)}; choose another class`, { status: 422 });
      }
      let high = 1;
      for (let halving = 0; halving < HALVINGS; halving += 1) {
        const middle = (kept + high) / 2;
        const seen = await this.examine(part(opened.z, target, middle), label);
        if (this.sound(seen, opened.limit)) [kept, best] = [middle, seen]; else high = middle;
      }
    }
    const steps = 2 ** this.image.n_bits;
    let [overshoot, clipped] = [0, 0];
    for (const value of best.x) {
      const beyond = Math.max(-value, value - 1, 0) * steps;
      overshoot = Math.max(overshoot, beyond);
      if (beyond > 0.5) clipped += 1;
    }
    return {
      x: best.x, values: xToValues(best.x, this.image.n_bits), z: part(opened.z, target, kept), label, kept, fault,
      roundTrip: best.roundTrip, overshoot, clipped: clipped / this.dims,
    };
  }

  // The image as the model sees it: 8-bit values of its n-bit pixels.
  seen(values) { return xToValues(valuesToX(values, this.image.n_bits), this.image.n_bits); }

  centre(values) { return valuesToX(values, this.image.n_bits); }

  bits(logProb) { return bitsPerDim(logProb, this.dims, this.image.n_bits); }

  clipped(x) { return xToValues(x, this.image.n_bits); }

  // How many of the values come back as they were.
  exact(values, xHat) {
    const [before, after] = [valuesToPixels(values, this.image.n_bits), xToPixels(xHat, this.image.n_bits)];
    return xHat.reduce((sum, value, i) => sum + (Number.isFinite(value) && before[i] === after[i]), 0);
  }
}
