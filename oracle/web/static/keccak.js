// keccak256, which Web Crypto lacks: the permutation on pairs of 32-bit words (FIPS 202, with
// Ethereum's padding byte 01). tests/web/test_modules.py holds it to the Python library.

const ROUNDS = `
0000000000000001 0000000000008082 800000000000808a 8000000080008000 000000000000808b 0000000080000001
8000000080008081 8000000000008009 000000000000008a 0000000000000088 0000000080008009 000000008000000a
000000008000808b 800000000000008b 8000000000008089 8000000000008003 8000000000008002 8000000000000080
000000000000800a 800000008000000a 8000000080008081 8000000000008080 0000000080000001 8000000080008008
`
  .trim()
  .split(/\s+/)
  .map((text) => [parseInt(text.slice(8), 16), parseInt(text.slice(0, 8), 16)]);
const LANE = [
  10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1,
];
const TURN = [
  1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44,
];
const RATE = 136; // bytes absorbed at a time

function permute(s) {
  // 25 lanes, low word first
  const c = new Uint32Array(10);
  const row = new Uint32Array(10);
  for (const [low, high] of ROUNDS) {
    for (let x = 0; x < 10; x++) c[x] = s[x] ^ s[x + 10] ^ s[x + 20] ^ s[x + 30] ^ s[x + 40];
    for (let x = 0; x < 5; x++) {
      const l = c[2 * ((x + 1) % 5)],
        h = c[2 * ((x + 1) % 5) + 1],
        p = 2 * ((x + 4) % 5);
      const dl = c[p] ^ ((l << 1) | (h >>> 31)),
        dh = c[p + 1] ^ ((h << 1) | (l >>> 31));
      for (let y = 0; y < 50; y += 10) {
        s[y + 2 * x] ^= dl;
        s[y + 2 * x + 1] ^= dh;
      }
    }
    let l = s[2],
      h = s[3];
    for (let i = 0; i < 24; i++) {
      const to = 2 * LANE[i],
        keptLow = s[to],
        keptHigh = s[to + 1];
      let n = TURN[i];
      if (n >= 32) {
        [l, h] = [h, l];
        n -= 32;
      }
      s[to] = n ? (l << n) | (h >>> (32 - n)) : l;
      s[to + 1] = n ? (h << n) | (l >>> (32 - n)) : h;
      l = keptLow;
      h = keptHigh;
    }
    for (let y = 0; y < 50; y += 10) {
      row.set(s.subarray(y, y + 10));
      for (let x = 0; x < 10; x++) s[y + x] = row[x] ^ (~row[(x + 2) % 10] & row[(x + 4) % 10]);
    }
    s[0] ^= low;
    s[1] ^= high;
  }
}

/** Return the 32-byte digest of bytes. */
export function keccak256(data) {
  const padded = new Uint8Array((Math.floor(data.length / RATE) + 1) * RATE);
  padded.set(data);
  padded[data.length] ^= 0x01;
  padded[padded.length - 1] ^= 0x80;
  const view = new DataView(padded.buffer);
  const state = new Uint32Array(50);
  for (let at = 0; at < padded.length; at += RATE) {
    for (let i = 0; i < RATE / 4; i++) state[i] ^= view.getUint32(at + 4 * i, true);
    permute(state);
  }
  const out = new DataView(new ArrayBuffer(32));
  for (let i = 0; i < 8; i++) out.setUint32(4 * i, state[i], true);
  return new Uint8Array(out.buffer);
}
