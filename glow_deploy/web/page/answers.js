// What is told to the page, as glow_deploy.explore.answers has it.

import * as pictures from "./pictures.js";
import { equivalentCommand } from "./commands.js";

const MOST_CLASSES = 3; // whose probability is told
const FOREIGN = 1.5; // see glow_deploy.explore.familiarity

const meanSquare = (z) => z.reduce((sum, value) => sum + value * value, 0) / z.length;

function familiar(range, bits) {
  if (!range?.of_data) return "unknown";
  const farthest = Math.max(range.high - range.mean, range.mean - range.low);
  const distance = Math.abs(bits - range.mean);
  if (!(distance <= FOREIGN * farthest)) return "foreign";
  return distance <= farthest ? "typical" : "unusual";
}

function likeliest(logProb) {
  if (!logProb) return [];
  const top = Math.max(...logProb);
  const shares = logProb.map((value) => Math.exp(value - top));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share, label) => ({ label, share: share / sum }))
    .sort((a, b) => b.share - a.share).slice(0, MOST_CLASSES);
}

async function level(z, shape) {
  const [light, dark] = [await pictures.latents(z, shape, "light"), await pictures.latents(z, shape, "dark")];
  return {
    shape, pictures: { light: light.uri, dark: dark.uri }, width: light.width, height: light.height,
    mean_square: meanSquare(z), beyond: z.reduce((sum, value) => sum + (Math.abs(value) > pictures.LATENT_SCALE), 0), count: z.length,
  };
}

export async function describeImage(flow, opened, source, token, notes) {
  const { image } = flow;
  const steps = 2 ** image.n_bits;
  const lost = Array.from(opened.xHat, (value) => !Number.isFinite(value));
  let [largest, squares] = [0, 0];
  opened.xHat.forEach((value, i) => {
    const error = lost[i] ? 0 : (value - opened.x[i]) * steps;
    largest = Math.max(largest, Math.abs(error));
    squares += error * error;
  });
  const difference = await pictures.difference(opened.xHat, opened.x, image);
  const levels = [];
  for (const [i, z] of opened.z.entries()) levels.push(await level(z, flow.shapes[i]));
  return {
    token, model: flow.site.model.id, name: source.name, file: source.file, notes, trouble: opened.trouble,
    picture: await pictures.picture(flow.seen(opened.values), image),
    reconstruction: await pictures.picture(flow.clipped(opened.xHat), image, lost),
    difference: difference.uri, difference_steps: difference.scale,
    error: {
      non_finite: lost.filter(Boolean).length, max_steps: largest, rms_steps: Math.sqrt(squares / flow.dims),
      exact: flow.exact(opened.values, opened.xHat), values: flow.dims,
    },
    bits_per_dim: opened.bits, bits_per_dim_centre: opened.bitsCentre,
    familiar: familiar(flow.site.model.golden_range, opened.bitsCentre), draws: flow.site.draws,
    label: opened.label, likeliest: likeliest(opened.byClass), levels,
  };
}

export async function describeShown(flow, opened, shown, change, { image, other }) {
  const before = flow.seen(opened.values);
  const { model, bundle } = flow.site;
  return {
    picture: await pictures.picture(shown.values, flow.image), kept: shown.kept, fault: shown.fault, label: shown.label,
    changed_values: before.reduce((sum, value, i) => sum + (value !== shown.values[i]), 0), values: flow.dims,
    overshoot_steps: shown.overshoot, clipped: shown.clipped, round_trip: shown.roundTrip,
    mean_square: shown.z.map(meanSquare),
    command: equivalentCommand(bundle, change, { image, other, directions: model.directions }),
  };
}
