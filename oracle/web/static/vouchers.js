// What payer and operator of a channel sign, and the root over receipts (docs/channels.md). Pure.
import { concat, hex, keccakHex, topicOf, unhex, word, ZERO32 } from "./encoding.js";
import { getPublicKey, Point, recoverPublicKeyAsync, signAsync, utils } from "./secp256k1.js";

const DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const VOUCHER =
  "Voucher(address payer,bytes32 offer,uint128 cumulative,uint64 answers,bytes32 receiptsRoot)";
const CLOSE = "Close(bytes32 channelId,uint256 cumulative,uint256 deadline)";
const RECEIPT = "Receipt(bytes32 requestId,bytes32 outputRoot,bytes32 traceRoot)";
const FIRST_LANE = 1n << 31n;

const hash = (...values) => keccakHex(concat(...values.map(word)));

// ── Names ─────────────────────────────────────────────────────────────────────────────────────
export const offerWords = (offer) => [
  offer.operator,
  offer.modelId,
  offer.version,
  BigInt(offer.terms),
  offer.number,
];
export const offerId = (offer) => hash(...offerWords(offer));
export const channelId = (payer, signer, offer) => hash(payer, signer, offerId(offer));

/** Return the id of the request that a receipt of a channel answers. */
export function requestId(channel, receipt) {
  const { offer } = channel,
    id = channelId(channel.payer, channel.signer, offer);
  const lane = FIRST_LANE | (BigInt(hash(id, receipt.index)) % FIRST_LANE);
  return hash(
    channel.chainId,
    channel.market,
    BigInt(channel.payer) | (lane << 160n) | (BigInt(receipt.index) << 192n),
    BigInt(offer.operator) | (BigInt(receipt.answeredAt) << 200n),
    (BigInt(offer.modelId) << 160n) | (BigInt(offer.version) << 208n),
    receipt.inputRoot,
    receipt.inputCid,
    receipt.params,
    ZERO32,
    BigInt(offer.terms),
  );
}

// ── Digests ───────────────────────────────────────────────────────────────────────────────────
const separator = (chainId, contract) =>
  hash(topicOf(DOMAIN), topicOf("Tallystick"), topicOf("1"), chainId, contract);
const typed = (chainId, contract, type, ...values) =>
  keccakHex(
    concat(
      new Uint8Array([0x19, 1]),
      unhex(separator(chainId, contract)),
      unhex(hash(topicOf(type), ...values)),
    ),
  );

export const voucherDigest = ({ chainId, channels, payer, offer }, cumulative, answers, root) =>
  typed(chainId, channels, VOUCHER, payer, offerId(offer), cumulative, answers, root);

export const closeDigest = ({ chainId, channels, payer, signer, offer }, cumulative, deadline) =>
  typed(chainId, channels, CLOSE, channelId(payer, signer, offer), cumulative, deadline);

export const receiptDigest = (channel, receipt) =>
  typed(
    channel.chainId,
    channel.game,
    RECEIPT,
    requestId(channel, receipt),
    receipt.outputRoot,
    receipt.traceRoot,
  );

// ── Signatures ────────────────────────────────────────────────────────────────────────────────
const address = (publicKey) => "0x" + keccakHex(publicKey.subarray(1)).slice(-40);

/** Return a new private key. */
export const newKey = () => hex(utils.randomSecretKey());

/** Return a private key's address, in small letters. */
export const addressOf = (key) => address(getPublicKey(unhex(key), false));

/** Sign a digest: r ‖ s ‖ v. */
export async function sign(key, digest) {
  const options = { prehash: false, format: "recovered" };
  const signed = await signAsync(unhex(digest), unhex(key), options);
  return hex(concat(signed.subarray(1), new Uint8Array([27 + signed[0]])));
}

/** Return whose key signed a digest, in small letters; "" = nobody's. */
export async function signerOf(digest, signature) {
  try {
    const bytes = unhex(signature);
    if (bytes.length !== 65) return "";
    const recovered = concat(new Uint8Array([bytes[64] - 27]), bytes.subarray(0, 64));
    const key = await recoverPublicKeyAsync(recovered, unhex(digest), { prehash: false });
    return address(Point.fromBytes(key).toBytes(false));
  } catch {
    return "";
  }
}

// ── Receipts' root ────────────────────────────────────────────────────────────────────────────
/** Return the tree { count, peaks } with one leaf more: equal trees on the right become one. */
export function grown({ count, peaks }, leaf) {
  const left = [...peaks];
  let node = leaf;
  for (let rest = count; rest % 2; rest = Math.floor(rest / 2)) node = hash(left.pop(), node);
  return { count: count + 1, peaks: [...left, node] };
}

/** Return what a voucher states about a tree. */
export const rootOf = ({ count, peaks }) => (count ? hash(count, ...peaks) : ZERO32);
