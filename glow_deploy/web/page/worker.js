// Answers what the page asks, one question after another, as explore's server does.

import { describeImage, describeShown } from "./answers.js";
import { fromSite, hasGpu, loadFiles, openEngine, tell } from "./engine.js";
import { Flow } from "./flow.js";
import { latentFile } from "./npz.js";
import { isFinite } from "./pixels.js";
import { Refused } from "./refused.js";
import { readPicture } from "./upload.js";

const KEPT = 32; // images
const PROVIDERS = { wasm: "WebAssembly", webgpu: "WebGPU" };

const images = new Map(); // token -> {opened, source}
let tokens = 0;
let ready = null; // a promise of {flow, model}

// --- starting

// How far this browser is from what ONNX Runtime makes of the site's check pictures. Without any, nothing is sound.
async function check(flow) {
  const { images, limits } = flow.site.check;
  const found = { images: images.length, bits: 0, lost: 0, values: 0, finite: true };
  for (const [index, one] of images.entries()) {
    const values = await picture(flow, `check/${index}.png`, `check picture ${index}`);
    const { z, logProb } = await flow.encode(flow.centre(values), one.label);
    const xHat = await flow.decode(z, one.label);
    found.bits = Math.max(found.bits, Math.abs(flow.bits(logProb) - one.bits_per_dim_centre));
    found.lost += xHat.length - flow.exact(values, xHat);
    found.values += xHat.length;
    found.finite &&= Number.isFinite(logProb) && isFinite(xHat);
  }
  found.sound = found.images > 0 && found.finite && found.bits <= limits.bits && found.lost <= limits.lost;
  return found;
}

function words(found, provider) {
  if (!found.images) return "This site has no pictures to check a browser with.";
  const count = `${found.images} sample${found.images === 1 ? "" : "s"} of the model`;
  const exact = found.lost ? `${found.lost} of ${found.values} values of their pixels are lost`
    : "every value of their pixels comes back";
  const far = Number(found.bits.toPrecision(2));
  return found.sound
    ? `Checked in this browser with ${count}: bits/dim is within ${far} of ONNX Runtime's on a processor, and ${exact}.`
    : `This browser does not compute the model right in ${PROVIDERS[provider]}: bits/dim of ${count} is ${far} off, and ${exact}.`;
}

async function start() {
  const answer = await fromSite("site.json");
  if (!answer.ok) throw new Error(`site.json is not on the server (${answer.status})`);
  const site = await answer.json();
  const asked = new URL(import.meta.url).searchParams.get("engine");
  const gpu = site.runtimes.webgpu && asked !== "wasm" && (asked === "webgpu" || await hasGpu());
  const tries = gpu ? ["webgpu", "wasm"] : ["wasm"];
  const files = [site.encoder, site.decoder, site.weights, site.directions].filter(Boolean);
  const own = Object.fromEntries(["encoder", "decoder", "weights", "directions"].filter((name) => site[name]).map((name, i) => [name, i]));
  let bytes = null;
  let trouble = "";
  for (const provider of tries) {
    const runtime = site.runtimes[provider];
    const wanted = bytes ? [runtime.binary] : [runtime.binary, ...files];
    const [binary, ...rest] = await loadFiles(wanted);
    bytes ??= rest;
    const part = (name) => (name in own ? bytes[own[name]] : null);
    tell(`Starting the model in ${PROVIDERS[provider]}.`);
    try {
      const engine = await openEngine(site, runtime, provider, {
        binary, encoder: part("encoder"), decoder: part("decoder"), weights: part("weights"),
      });
      const flow = new Flow(site, engine, vectors(site, part("directions")));
      const found = await check(flow);
      if (found.sound) return { flow, model: describe(site, engine, trouble + words(found, provider)) };
      if (provider === "wasm") throw new Refused(`${words(found, provider)} So nothing is shown.`, { status: 500 });
      await engine.close();
      trouble = `${words(found, provider)} So it runs in ${PROVIDERS.wasm}. `;
    } catch (error) {
      if (provider === "wasm") throw error;
      trouble = `WebGPU failed (${line(error)}), so the model runs in ${PROVIDERS.wasm}. `;
    }
  }
  return null;
}

function describe(site, engine, checked) {
  return {
    ...site.model, checked,
    engine: {
      backend: `onnxruntime-web ${engine.version}`, provider: PROVIDERS[engine.provider], device: "in your browser",
      precision: site.precision,
    },
  };
}

// Directions by name, a level each.
function vectors(site, bytes) {
  const found = {};
  if (!bytes) return found;
  const numbers = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  let place = 0;
  for (const { name } of site.model.directions.attributes) {
    found[name] = site.model.levels.map((shape) => {
      const size = shape.reduce((a, b) => a * b, 1);
      place += size;
      return numbers.subarray(place - size, place);
    });
  }
  return found;
}

// --- answering

function keep(opened, source) {
  tokens += 1;
  images.set(String(tokens), { opened, source });
  while (images.size > KEPT) images.delete(images.keys().next().value);
  return String(tokens);
}

function kept(token) {
  const found = images.get(token);
  if (!found) throw new Refused("this image is kept no more; open it again", { status: 410, kind: "forgotten" });
  images.delete(token);
  images.set(token, found);
  return found;
}

async function open(flow, values, { name, file, label, notes = [] }) {
  const opened = await flow.open(values, name, label);
  const source = { name, file, fitted: notes.length > 0, label: opened.label };
  return describeImage(flow, opened, source, keep(opened, source), notes);
}

async function picture(flow, address, name) {
  const answer = await fromSite(address);
  if (!answer.ok) throw new Refused(`${name} is not on the server`, { status: 404 });
  return (await readPicture(await answer.arrayBuffer(), name, flow.image, flow.site.upload)).values;
}

const NEUTRAL = { temperature: 1, temperatures: [], share: 0, mode: "linear", attributes: {}, label: null };

async function shown(flow, asked) {
  const image = kept(asked.token);
  const other = asked.other === null ? null : kept(asked.other);
  const change = { ...NEUTRAL, ...asked.change };
  return { image, other, change, found: await flow.change(image.opened, change, other?.opened) };
}

const ROUTES = {
  "api/model": async ({ model }) => model,
  "api/image": async ({ flow }, body, query) => {
    const name = (query.get("name") || "picture").slice(0, 100);
    const { values, notes } = await readPicture(body, name, flow.image, flow.site.upload);
    const label = query.get("class");
    return open(flow, values, { name, file: name, label: label === null ? null : Number(label), notes });
  },
  "api/golden": async ({ flow }, body) => {
    const { index, class: label } = JSON.parse(body);
    const own = label ?? flow.site.golden[index]?.label ?? null;
    const values = await picture(flow, `golden/${index}.png`, `golden image ${index}`);
    return open(flow, values, { name: `golden image ${index}`, file: `golden-${index}.png`, label: own });
  },
  "api/sample": async ({ flow }, body) => {
    const { seed, temperature, class: label } = JSON.parse(body);
    const { classes } = flow.site.model;
    const own = classes === null ? null : label ?? seed % classes;
    const values = await flow.sample(seed, temperature, own);
    return open(flow, values, { name: `sample of seed ${seed}`, file: `sample-${seed}.png`, label: own });
  },
  "api/decode": async ({ flow }, body) => {
    const { image, other, change, found } = await shown(flow, JSON.parse(body));
    return describeShown(flow, image.opened, found, change, { image: image.source, other: other?.source ?? null });
  },
  "api/latents": async ({ flow }, body) => {
    const { image, found } = await shown(flow, JSON.parse(body));
    return latentFile(found.z, flow.shapes, image.source.file, found.label);
  },
};

const line = (error) => String(error?.message ?? error).split(/\s+/).join(" ").slice(0, 300);

async function answer({ path, body }) {
  try {
    ready ??= start();
    const [route, query] = path.split("?");
    return { status: 200, value: await ROUTES[route](await ready, body, new URLSearchParams(query)) };
  } catch (error) {
    const known = error instanceof Refused;
    const value = { error: known ? error.message : `the model cannot run here: ${line(error)}`, kind: known ? error.kind : "" };
    return { status: known ? error.status : 500, value };
  }
}

const pending = new Set(); // questions that nobody has taken back
let turn = Promise.resolve();

self.addEventListener("message", ({ data }) => {
  if (data.cancel) { pending.delete(data.cancel); return; }
  pending.add(data.id);
  turn = turn.then(async () => {
    if (pending.delete(data.id)) self.postMessage({ id: data.id, ...await answer(data) });
  });
});
