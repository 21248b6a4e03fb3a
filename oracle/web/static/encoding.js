// Bytes, hex, ABI words and CIDs: what contracts and IPFS understand.
import { keccak256 } from "./keccak.js";

export const ZERO32 = "0x" + "00".repeat(32);

export function hex(bytes) {
  return "0x" + Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

export function unhex(text) {
  if (!/^0x([0-9a-f]{2})*$/i.test(text)) throw new Error(`not hex: ${String(text).slice(0, 80)}`);
  return Uint8Array.from(text.slice(2).match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function concat(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Return a 32-byte word: a number (or decimal text), an address, or 32 bytes in hex. */
export function word(value) {
  if (typeof value === "string" && value.startsWith("0x")) {
    const bytes = unhex(value);
    if (bytes.length > 32) throw new Error(`${value} does not fit a word`);
    return concat(new Uint8Array(32 - bytes.length), bytes);
  }
  const number = BigInt(value);
  if (number < 0n || number >= 1n << 256n) throw new Error(`${value} does not fit a word`);
  return unhex("0x" + number.toString(16).padStart(64, "0"));
}

export const keccakHex = (bytes) => hex(keccak256(bytes));
export const topicOf = (signature) => keccakHex(new TextEncoder().encode(signature));

/** Return calldata. Arguments are words, but `string` and `bytes`; a static struct is its fields. */
export function calldata(signature, ...values) {
  const types = signature
    .slice(signature.indexOf("("))
    .replace(/[()]/g, " ")
    .trim()
    .split(/[ ,]+/)
    .filter(Boolean);
  if (types.length !== values.length) throw new Error(`${signature} takes ${types.length} values`);
  const head = [],
    tail = [];
  let offset = 32 * values.length;
  types.forEach((type, i) => {
    if (type !== "string" && type !== "bytes") {
      head.push(word(values[i]));
      return;
    }
    const sized = withLength(
      type === "bytes" ? unhex(values[i]) : new TextEncoder().encode(values[i]),
    );
    head.push(word(offset));
    tail.push(sized);
    offset += sized.length;
  });
  return hex(concat(unhex(topicOf(signature)).slice(0, 4), ...head, ...tail));
}

function withLength(bytes) {
  const padded = new Uint8Array(Math.ceil(bytes.length / 32) * 32);
  padded.set(bytes);
  return concat(word(bytes.length), padded);
}

/** Return the calldata of several calls of one contract in one. */
export function multicallCalldata(calls) {
  const sized = calls.map((call) => withLength(unhex(call))),
    head = [];
  let offset = 32 * calls.length;
  for (const one of sized) {
    head.push(word(offset));
    offset += one.length;
  }
  const selector = unhex(topicOf("multicall(bytes[])")).slice(0, 4);
  return hex(concat(selector, word(32), word(calls.length), ...head, ...sized));
}

const ORDER = {
  // struct Order of IInferenceMarket.sol
  modelId: "uint256",
  version: "uint256",
  lane: "uint256",
  inputRoot: "bytes32",
  inputCid: "bytes32",
  params: "bytes32",
  maxFee: "uint256",
  priorityWindow: "uint256",
  lifetime: "uint256",
  operator: "address",
  consumer: "address",
  callbackGas: "uint256",
  envelope: "bytes32",
};

/** Return the calldata that asks the market. */
export function requestCalldata(order) {
  const values = Object.keys(ORDER).map((name) => order[name]);
  return calldata(`request((${Object.values(ORDER)}))`, ...values);
}

/** Split return data or an event's data into words of hex. */
export function words(data) {
  return (data.slice(2).match(/.{64}/g) ?? []).map((text) => "0x" + text);
}

/** Return the CIDv1 (base32) of the raw block with this SHA-256. */
export function rawCid(digest) {
  const bytes = concat(new Uint8Array([1, 0x55, 0x12, 0x20]), unhex(digest));
  let bits = 0,
    kept = 0,
    text = "b";
  for (const byte of bytes) {
    kept = (kept << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += "abcdefghijklmnopqrstuvwxyz234567"[(kept >> bits) & 31];
    }
    kept &= (1 << bits) - 1;
  }
  return bits ? text + "abcdefghijklmnopqrstuvwxyz234567"[(kept << (5 - bits)) & 31] : text;
}

export async function sha256(bytes) {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}
