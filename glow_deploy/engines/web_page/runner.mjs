// Runs one graph in onnxruntime-web for a program that hands out work: in a browser's page, or in Node.

const node = typeof process === "object" && Boolean(process.versions?.node);
const base = node ? process.argv[2] : new URL(".", location.href).href;

const bytes = async (name) => new Uint8Array(await (await fetch(base + name)).arrayBuffer());

// A message is the length of its head, the head in JSON, padded to 8 bytes, and the arrays one after another.
function unpack(message) {
  const view = new DataView(message.buffer, message.byteOffset);
  const length = view.getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(message.subarray(8, 8 + length)));
  let place = 8 + length;
  return head.map(({ name, type, shape, bytes: size }) => {
    const data = message.slice(place, place + size).buffer;
    place += size;
    return { name, type, shape, data: type === "int64" ? new BigInt64Array(data) : new Float32Array(data) };
  });
}

function pack(head, arrays = []) {
  let text = JSON.stringify(head);
  while ((8 + new TextEncoder().encode(text).length) % 8) text += " ";
  const words = new TextEncoder().encode(text);
  const parts = [new Uint8Array(new Uint32Array([words.length, 0]).buffer), words];
  for (const array of arrays) parts.push(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  return new Blob(parts);
}

const post = (path, body) => fetch(base + path, { method: "POST", body });
const told = (error) => pack({ error: String(error?.message ?? error).slice(0, 600) });

async function open() {
  const ort = await import("./ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await bytes("ort-wasm-simd-threaded.wasm");
  ort.env.logLevel = "fatal";
  const session = await ort.InferenceSession.create(await bytes("model.onnx"), {
    executionProviders: ["wasm"], logSeverityLevel: 4,
  });
  await post("ready", pack({ version: ort.env.versions.web, agent: node ? `Node ${process.versions.node}` : navigator.userAgent }));
  return { ort, session };
}

async function run({ ort, session }, message) {
  const feeds = {};
  for (const { name, type, shape, data } of unpack(message)) feeds[name] = new ort.Tensor(type, data, shape);
  const out = Object.entries(await session.run(feeds));
  const head = out.map(([name, tensor]) => ({ name, type: tensor.type, shape: tensor.dims, bytes: tensor.data.byteLength }));
  const answer = pack({ outputs: head }, out.map(([, tensor]) => tensor.data));
  for (const [, tensor] of out) tensor.dispose();
  return answer;
}

// Whoever hands out work has gone when it does not answer any more; then there is nothing left to do.
async function main() {
  let opened;
  try {
    opened = await open();
  } catch (error) {
    await post("ready", told(error));
    return;
  }
  for (;;) {
    const answer = await fetch(`${base}work`);
    if (answer.status !== 200) continue;
    const message = new Uint8Array(await answer.arrayBuffer());
    await post("done", await run(opened, message).catch(told));
  }
}

main().catch(() => { if (node) process.exit(1); });
