// Runs a bundle on its golden images in Node, and saves what `glow-deploy verify --outputs` judges.
//
//   npm install onnxruntime-node
//   glow-deploy golden BUNDLE --inputs golden-in
//   node golden.mjs BUNDLE golden-in golden-out
//   glow-deploy verify BUNDLE --outputs golden-out

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import ort from "onnxruntime-node";

const [bundle, source, target] = process.argv.slice(2);
if (!target) throw new Error("usage: node golden.mjs BUNDLE INPUTS OUTPUTS");
mkdirSync(target, { recursive: true });
const index = JSON.parse(readFileSync(`${source}/index.json`, "utf8"));

// One tensor that `glow-deploy golden` wrote: bare values, little-endian, in the shape that the index gives.
function fed(name) {
  const { file, dtype, shape } = index.inputs[name];
  const bytes = readFileSync(`${source}/${file}`);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const values = dtype === "int64" ? new BigInt64Array(buffer) : new Float32Array(buffer);
  return new ort.Tensor(dtype, values, shape);
}

// The inputs of one set by the names that the graph has for them: encoder.x is x.
function feeds(set) {
  const names = Object.keys(index.inputs).filter((name) => name.startsWith(`${set}.`));
  return Object.fromEntries(names.map((name) => [name.slice(set.length + 1), fed(name)]));
}

function save(set, outputs) {
  for (const [name, { data }] of Object.entries(outputs)) {
    writeFileSync(`${target}/${set}.${name}.bin`, Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  }
}

const encoder = await ort.InferenceSession.create(`${bundle}/encoder.onnx`);
const decoder = await ort.InferenceSession.create(`${bundle}/decoder.onnx`);
const canary = await ort.InferenceSession.create(`${source}/canary.onnx`);

const encoded = await encoder.run(feeds("encoder"));
save("encoder", encoded);
save("decoder", await decoder.run(feeds("decoder")));

// The round trip: its own latents decoded, and what came back encoded once more.
const labels = index.inputs["encoder.y"] ? { y: fed("encoder.y") } : {};
const { log_prob: density, ...latents } = encoded;
const returned = await decoder.run({ ...latents, ...labels });
save("round_trip", returned);
save("round_trip", await encoder.run({ ...returned, ...labels }));

// Two convolutions whose result tells what number format this machine really computes in.
save("canary", await canary.run(feeds("canary")));
copyFileSync(`${source}/index.json`, `${target}/index.json`); // tells which inputs the outputs belong to
console.log(`saved what ${index.images} golden images gave, ${density.data[0].toFixed(3)} nats for the first`);
