// Roots of an exact version's inputs and answers, from their bytes (docs/exact.md, sections 2, 5).
import { keccak256 } from "./keccak.js";
import { concat, hex } from "./encoding.js";

const LEAF = 128;
const SIZES = { 1: 1, 2: 1, 3: 2, 4: 2, 5: 4 }; // bytes of an element by dtype
const absent = [new Uint8Array(32)];

function nothing(height) {
  for (let h = absent.length; h <= height; h++)
    absent[h] = keccak256(concat(absent[h - 1], absent[h - 1]));
  return absent[height];
}

function climb(level, from, count) {
  // `count` levels up, the first at height `from`
  for (let height = from; height < from + count; height++) {
    if (level.length % 2) level = [...level, nothing(height)];
    level = Array.from({ length: level.length / 2 }, (_, i) =>
      keccak256(concat(level[2 * i], level[2 * i + 1])),
    );
  }
  return level[0];
}

const log = (n) => (n <= 1 ? 0 : 32 - Math.clz32(n - 1));

function tensorLeaf(id, dtype, rows, cols, data) {
  const width = cols * SIZES[dtype],
    leaves = Math.ceil(width / LEAF);
  const roots = [];
  for (let row = 0; row < rows; row++) {
    const hashes = [];
    for (let at = 0; at < width; at += LEAF) {
      const padded = new Uint8Array(1 + LEAF); // the tag 00 first
      padded.set(data.subarray(row * width + at, row * width + Math.min(at + LEAF, width)), 1);
      hashes.push(keccak256(padded));
    }
    roots.push(climb(hashes, 0, log(leaves)));
  }
  const root = climb(roots, log(leaves), log(rows));
  const head = new DataView(new ArrayBuffer(12));
  head.setUint8(0, 2);
  head.setUint16(1, id);
  head.setUint8(3, dtype);
  head.setUint32(4, rows);
  head.setUint32(8, cols);
  return keccak256(concat(new Uint8Array(head.buffer), root));
}

function records(bytes) {
  const found = [],
    view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    if (bytes.length - at < 11) throw new Error("a record is cut short");
    const [id, dtype, rows, cols] = [
      view.getUint16(at),
      view.getUint8(at + 2),
      view.getUint32(at + 3),
      view.getUint32(at + 7),
    ];
    const size = rows * cols * SIZES[dtype];
    at += 11;
    if (!(size > 0) || bytes.length - at < size) throw new Error("a record does not fit its bytes");
    found.push(tensorLeaf(id, dtype, rows, cols, bytes.subarray(at, at + size)));
    at += size;
  }
  return found;
}

/** Return the root by which a request names these bytes. */
export const inputRoot = (bytes) => hex(keccak256(concat(new Uint8Array([5]), ...records(bytes))));

/** Return the root by which a delivery names these bytes. */
export function outputRoot(bytes) {
  const found = records(bytes);
  if (found.length !== 1) throw new Error("an answer is one tensor");
  return hex(found[0]);
}
