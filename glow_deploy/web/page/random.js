// The random numbers of `glow-deploy sample` and `encode`, to the last bit: NumPy's Philox 4x64-10 (Salmon et al. 2011) keyed
// by (seed, index), and its normal numbers by the ziggurat method (Marsaglia & Tsang 2000; layers as in Doornik 2005).

const M0 = 0xD2E7470EE14C6C93n, M1 = 0xCA5A826395121157n;
const W0 = 0x9E3779B97F4A7C15n, W1 = 0xBB67AE8584CAA73Bn;
const WORD = (1n << 64n) - 1n;
const ROUNDS = 10;

const LATENTS = 0n, DEQUANTISATION = 1n; // purposes of a stream

class Philox {
  constructor(seed, index, draw, purpose) {
    this.key = [BigInt.asUintN(64, BigInt(seed)), BigInt(index)];
    this.counter = [0n, 0n, BigInt(draw), purpose];
    this.words = [];
    this.half = null;
  }

  // 64 random bits.
  next() {
    if (!this.words.length) this.refill();
    return this.words.pop();
  }

  refill() {
    const { counter } = this;
    counter[0] = (counter[0] + 1n) & WORD;
    if (counter[0] === 0n) counter[1] = (counter[1] + 1n) & WORD;
    let [c0, c1, c2, c3] = counter;
    let [k0, k1] = this.key;
    for (let round = 0; round < ROUNDS; round += 1) {
      const a = M0 * c0, b = M1 * c2;
      [c0, c1, c2, c3] = [(b >> 64n) ^ c1 ^ k0, b & WORD, (a >> 64n) ^ c3 ^ k1, a & WORD];
      k0 = (k0 + W0) & WORD;
      k1 = (k1 + W1) & WORD;
    }
    this.words = [c3, c2, c1, c0]; // taken from the end
  }

  // 32 random bits: the low half of a word first.
  next32() {
    if (this.half !== null) {
      const kept = this.half;
      this.half = null;
      return kept;
    }
    const word = this.next();
    this.half = Number(word >> 32n);
    return Number(word & 0xFFFFFFFFn);
  }

  double() { return Number(this.next() >> 11n) / 2 ** 53; }

  float() { return (this.next32() >>> 8) / 2 ** 24; }

  normal() {
    for (;;) {
      const word = this.next();
      const layer = Number(word & 0xFFn);
      const sign = (word >> 8n) & 1n;
      const place = Number((word >> 9n) & 0xFFFFFFFFFFFFFn); // 52 bits
      const size = place * WIDTH[layer];
      const x = sign ? -size : size;
      if (place < INSIDE[layer]) return x;
      if (layer === 0) {
        for (;;) {
          const far = -Math.log1p(-this.double()) / TAIL;
          const high = -Math.log1p(-this.double());
          if (high + high > far * far) return Math.floor(place / 256) % 2 ? -(TAIL + far) : TAIL + far;
        }
      }
      if ((DENSITY[layer - 1] - DENSITY[layer]) * this.double() + DENSITY[layer] < Math.exp(-0.5 * x * x)) return x;
    }
  }
}

// 256 layers of equal area under exp(-x^2 / 2); the lowest holds the tail beyond TAIL.
const TAIL = 3.6541528853610088;
const AREA = 0.00492867323397465524494;
const WIDTH = new Float64Array(256), INSIDE = new Float64Array(256), DENSITY = new Float64Array(256);

function layers() {
  const density = (x) => Math.exp(-0.5 * x * x);
  const scale = 2 ** 52;
  let x = TAIL, wider = TAIL;
  INSIDE[0] = Math.floor((TAIL * density(TAIL)) / AREA * scale);
  WIDTH[0] = AREA / density(TAIL) / scale;
  WIDTH[255] = TAIL / scale;
  DENSITY[0] = 1;
  DENSITY[255] = density(TAIL);
  for (let layer = 254; layer >= 1; layer -= 1) {
    x = Math.sqrt(-2 * Math.log(AREA / x + density(x)));
    INSIDE[layer + 1] = Math.floor((x / wider) * scale);
    wider = x;
    DENSITY[layer] = density(x);
    WIDTH[layer] = x / scale;
  }
  INSIDE[1] = 0;
}
layers();

// Standard normal latents of one sample, a Float32Array a level, z1 first.
export function noise(seed, index, sizes, attempt = 0) {
  const stream = new Philox(seed, index, attempt, LATENTS);
  return sizes.map((size) => Float32Array.from({ length: size }, () => stream.normal()));
}

// Dequantisation noise u of one picture, U[0, 1).
export function dequantisation(seed, index, size, draw) {
  const stream = new Philox(seed, index, draw, DEQUANTISATION);
  return Float32Array.from({ length: size }, () => stream.float());
}
