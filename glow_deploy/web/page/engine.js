// The two graphs in onnxruntime-web: on WebGPU where the browser has it and it computes right, otherwise in WebAssembly.

const STEP = 200_000; // bytes between two words about how much has come

// From a worker's blob no address leads to the site.
export const fromSite = (address) => fetch(new URL(address, import.meta.url));

export const tell = (text) => self.postMessage({ progress: text });

async function download(address, done) {
  const answer = await fromSite(address);
  if (!answer.ok) throw new Error(`${address.split("?")[0]} is not on the server (${answer.status})`);
  if (!answer.body) return new Uint8Array(await answer.arrayBuffer());
  const parts = [];
  let length = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { value, done: ended } = await reader.read();
    if (ended) break;
    parts.push(value);
    length += value.length;
    done(value.length);
  }
  const whole = new Uint8Array(length);
  let place = 0;
  for (const part of parts) { whole.set(part, place); place += part.length; }
  return whole;
}

export async function loadFiles(files) {
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  let [come, told] = [0, -STEP];
  const done = (more) => {
    come += more;
    if (come - told < STEP) return;
    told = come;
    tell(`Loading: ${(come / 2 ** 20).toFixed(1)} of ${(total / 2 ** 20).toFixed(1)} MB.`);
  };
  return Promise.all(files.map((file) => download(file.address, done)));
}

// Whether there is a graphics processor behind WebGPU; a processor that plays one is slower than WebAssembly.
export async function hasGpu() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false);
  } catch {
    return false;
  }
}

// runtime: of site.json; binary, encoder, decoder, weights: bytes.
export async function openEngine(site, runtime, provider, { binary, encoder, decoder, weights }) {
  const ort = await import(runtime.module);
  ort.env.wasm.numThreads = 1; // more of them need headers that not every server sends
  ort.env.wasm.wasmBinary = binary;
  ort.env.logLevel = "fatal";
  const options = {
    executionProviders: [provider], logSeverityLevel: 4,
    externalData: weights ? [{ path: site.weights.name, data: weights }] : [],
  };
  const sessions = {
    encoder: await ort.InferenceSession.create(encoder, options),
    decoder: await ort.InferenceSession.create(decoder, options),
  };
  const { image, levels } = site.model;
  const shapes = { x: [1, image.channels, image.height, image.width] };
  levels.forEach((shape, i) => { shapes[`z${i + 1}`] = [1, ...shape]; });
  const run = async (role, arrays, label) => {
    const feeds = {};
    for (const [name, data] of Object.entries(arrays)) feeds[name] = new ort.Tensor("float32", data, shapes[name]);
    if (label !== null) feeds.y = new ort.Tensor("int64", BigInt64Array.of(BigInt(label)), [1]);
    const out = await sessions[role].run(feeds);
    const found = {};
    for (const [name, tensor] of Object.entries(out)) {
      found[name] = Float32Array.from(tensor.data);
      tensor.dispose();
    }
    return found;
  };
  return {
    provider,
    version: ort.env.versions.web,
    encode: (arrays, label) => run("encoder", arrays, label),
    decode: (arrays, label) => run("decoder", arrays, label),
    close: async () => { await sessions.encoder.release(); await sessions.decoder.release(); },
  };
}
