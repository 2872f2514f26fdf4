// The .npz file that `glow-deploy decode` takes: NumPy arrays in a zip file, not packed.

import { crc32 } from "./png.js";

function npy(kind, shape, data) {
  const tuple = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  let header = `{'descr': '${kind}', 'fortran_order': False, 'shape': ${tuple}, }`;
  header += `${" ".repeat(63 - ((10 + header.length) % 64))}\n`;
  const out = new Uint8Array(10 + header.length + data.byteLength);
  out.set([0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0, header.length & 0xFF, header.length >> 8]);
  out.set(new TextEncoder().encode(header), 10);
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + header.length);
  return out;
}

function zipped(files) {
  const parts = [], directory = [];
  let place = 0;
  for (const [name, data] of files) {
    const title = new TextEncoder().encode(name);
    const head = new DataView(new ArrayBuffer(30));
    head.setUint32(0, 0x04034B50, true);
    head.setUint16(4, 20, true);
    head.setUint16(12, 0x21, true); // 1980-01-01: the same latents give the same bytes
    head.setUint32(14, crc32(data), true);
    head.setUint32(18, data.length, true);
    head.setUint32(22, data.length, true);
    head.setUint16(26, title.length, true);
    const entry = new DataView(new ArrayBuffer(46));
    entry.setUint32(0, 0x02014B50, true);
    entry.setUint16(4, 20, true);
    new Uint8Array(entry.buffer).set(new Uint8Array(head.buffer, 4, 26), 6);
    entry.setUint32(42, place, true);
    parts.push(new Uint8Array(head.buffer), title, data);
    directory.push(new Uint8Array(entry.buffer), title);
    place += 30 + title.length + data.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054B50, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, length, true);
  end.setUint32(16, place, true);
  return [...parts, ...directory, new Uint8Array(end.buffer)];
}

// z: a Float32Array a level, of the given shapes; name: of the picture; label: its class, or null.
export async function latentFile(z, shapes, name, label) {
  const letters = Uint32Array.from(name, (letter) => letter.codePointAt(0));
  const files = z.map((level, i) => [`z${i + 1}.npy`, npy("<f4", [1, ...shapes[i]], level)]);
  files.push(["names.npy", npy(`<U${letters.length}`, [1], letters)]);
  if (label !== null) files.push(["y.npy", npy("<i8", [1], BigInt64Array.of(BigInt(label)))]);
  return new Uint8Array(await new Blob(zipped(files)).arrayBuffer());
}
