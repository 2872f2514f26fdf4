// PNG files out of 8-bit values.

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xEDB88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

export function crc32(bytes, start = 0) {
  let value = ~start >>> 0;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xFF] ^ (value >>> 8);
  return ~value >>> 0;
}

function chunk(kind, data) {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i += 1) bytes[4 + i] = kind.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc32(bytes.subarray(4, data.length + 8)));
  return bytes;
}

async function deflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const KINDS = { 1: 0, 3: 2, 4: 6 }; // grey, RGB, RGBA

// values: uint8 [height, width, channels] with 1, 3 or 4 channels.
export async function png(values, width, height, channels) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, KINDS[channels]], 8);
  const row = width * channels;
  const lines = new Uint8Array((row + 1) * height); // each begins with its filter, none
  for (let y = 0; y < height; y += 1) lines.set(values.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  const parts = [Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk("IHDR", header), chunk("IDAT", await deflated(lines)),
    chunk("IEND", new Uint8Array(0))];
  let text = "";
  for (const part of parts) for (const byte of part) text += String.fromCharCode(byte);
  return `data:image/png;base64,${btoa(text)}`;
}

// From planes [channels, height, width] to pixels [height, width, channels].
export function interleaved(planes, channels) {
  const size = planes.length / channels;
  const out = new Uint8Array(planes.length);
  for (let c = 0; c < channels; c += 1) for (let i = 0; i < size; i += 1) out[i * channels + c] = planes[c * size + i];
  return out;
}
