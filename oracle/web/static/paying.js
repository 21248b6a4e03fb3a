// A channel of the visitor whose vouchers a key of this page signs: open, ask, close. Shows nothing.
//
//   open ─▶ key made, kept ─▶ wallet signs once: deposit (limit) and closing time (expiry)
//   ask  ─▶ voucher n, signed here ─▶ endpoint ─▶ answer, receipt ─▶ checked ─▶ kept
//   close ─▶ operator consents ─▶ wallet signs: what is left comes back at once
import { page, refusal, t } from "./page.js";
import { rpc } from "./chain.js";
import { calldata, multicallCalldata, sha256, topicOf, words, ZERO32 } from "./encoding.js";
import { inputRoot, outputRoot } from "./exact.js";
import { channelOf, forget, keep, keepReceipt } from "./kept.js";
import {
  addressOf,
  channelId,
  closeDigest,
  grown,
  newKey,
  offerId,
  offerWords,
  receiptDigest,
  requestId,
  rootOf,
  sign,
  signerOf,
  voucherDigest,
} from "./vouchers.js";
import { send, wallet } from "./wallet.js";

const CLOCK = 60; // seconds that an operator's clock may differ from ours
const CONSENT = 120; // seconds in which an agreed close is sent
const PATIENCE = 30_000, // milliseconds for one answer
  WRITING = 600_000; // for one that is written, token by token
const REJECTED = 4001; // by the visitor, in the wallet (EIP-1193)
const OFFER = "(address,uint256,uint256,uint256,uint256)";
const WITHDRAWN = topicOf("ChannelWithdrawn(bytes32,address,uint256)");
const CANONICAL = "application/vnd.tallystick.tensors",
  EVENTS = "text/event-stream";

const now = () => Math.floor(Date.now() / 1000);
const same = (a, b) => a.toLowerCase() === b.toLowerCase();
const chainTime = async () =>
  Number((await rpc("eth_getBlockByNumber", "latest", false)).timestamp);
const fault = (title, text) => Object.assign(new Error(text), { title });

/** Return what a channel still pays for, in units of the token. */
export const left = ({ deposit, count, offer }) =>
  BigInt(deposit) - BigInt(count) * BigInt(offer.fee);

export const expired = (channel) => now() >= channel.expiry;

// ── Open ──────────────────────────────────────────────────────────────────────────────────────
/** Let a new key of this page spend `amount` with a seller for so many seconds. */
export async function open({ offer, url, closeDelay }, form, amount, seconds) {
  const payer = wallet().account,
    { network } = page;
  if (offerId(offer) !== offer.offerId) throw new Error(t("verify.bad", { what: "offer" }));
  if (amount < BigInt(offer.fee)) throw fault("AmountSmall", t("channel.small"));
  const balance = await rpc(
    "eth_call",
    { to: network.market, data: calldata("balanceOf(address)", payer) },
    "latest",
  );
  if (BigInt(balance) < amount) throw fault("BalanceInsufficient", t("channel.balance"));
  const key = newKey(),
    signer = addressOf(key);
  const expiry = now() + seconds;
  const channel = {
    id: channelId(payer, signer, offer),
    chainId: network.chainId,
    market: network.market,
    game: network.game,
    channels: network.channels,
    payer,
    signer,
    offer,
    key,
    url,
    name: form.name,
    exact: form.exact,
    expiry,
    madeAt: Date.now(),
    deposit: "0", // until the transaction is in a block
    signed: 0, // answers that vouchers pay for
    count: 0, // receipts without a gap, and their tree
    peaks: [],
    wrong: "",
    closed: false,
  };
  await keep(channel); // before there is money that only this key spends
  // The operator gets the close delay after the expiry, to claim what was signed
  const closesAt = expiry + closeDelay + CLOCK;
  const sold = offerWords(offer);
  const calls = [
    calldata(`open(address,address,${OFFER},uint256)`, payer, signer, ...sold, amount),
    calldata(`close(address,${OFFER},uint256)`, signer, ...sold, closesAt),
  ];
  try {
    await send(network.channels, multicallCalldata(calls), t);
  } catch (error) {
    if (error.code === REJECTED) await forget(channel.id);
    throw error;
  }
  channel.deposit = String(amount);
  await keep(channel);
  return channel;
}

/** Ask the chain about a channel whose opening this page did not see the end of. */
export async function recall(channel) {
  const { deposit } = await held(channel);
  if (deposit > 0n) await keep({ ...channel, deposit: String(deposit) });
  return channelOf(channel.id);
}

async function held({ id, channels }) {
  const found = await rpc(
    "eth_call",
    { to: channels, data: calldata("channelOf(bytes32)", id) },
    "latest",
  );
  const [deposit, claimed, closesAt] = words(found).map(BigInt);
  return { deposit, claimed, closesAt: Number(closesAt) };
}

// ── Ask ───────────────────────────────────────────────────────────────────────────────────────
/** Ask { input, params }: canonical bytes and packed parameters; resolves to the checked answer. */
export const ask = (id, question, hear = null) =>
  navigator.locks.request(`tallystick ${id}`, async () => {
    const channel = await channelOf(id);
    if (channel.wrong) throw fault("ReceiptWrong", t("channel.wrong", { why: channel.wrong }));
    if (expired(channel)) throw fault("KeyExpired", t("channel.expired"));
    if (left(channel) < BigInt(channel.offer.fee)) throw fault("ChannelEmpty", t("channel.empty"));
    try {
      return await once(channel, question, hear);
    } catch (error) {
      if (!error.voucher || !(await caughtUp(channel))) throw error;
      return once(channel, question, hear); // a reply was lost before
    }
  });

async function once(channel, question, hear) {
  const header = await voucher(channel);
  const askedAt = now();
  let found;
  try {
    found = await reply(channel, header, question, hear);
  } catch (error) {
    if (error.name === "TimeoutError") throw error;
    hear?.(null);
    found = await reply(channel, header, question, hear); // the same again brings the same answer
  }
  const { output } = found;
  try {
    const receipt = unpacked(found.receipt);
    await requireFit(channel, receipt, question, output, askedAt);
    await take(channel, receipt, { input: question.input, output });
    return { request: requestId(channel, receipt), receipt, output, channel };
  } catch (error) {
    // Kept as evidence; nothing more is asked of an operator whose word is not worth its price
    const evidence = { receipt: found.receipt, ...question, output };
    await keep({ ...channel, wrong: error.message, evidence });
    throw fault("ReceiptWrong", t("channel.wrong", { why: error.message }));
  }
}

/** Sign for one answer more; how many were signed for is kept before anybody sees it. */
async function voucher(channel) {
  const answers = channel.count + 1,
    cumulative = BigInt(channel.offer.fee) * BigInt(answers),
    receiptsRoot = rootOf(channel);
  const signature = await sign(
    channel.key,
    voucherDigest(channel, cumulative, answers, receiptsRoot),
  );
  channel.signed = Math.max(channel.signed, answers);
  await keep(channel);
  const { payer, signer, offer } = channel;
  return btoa(
    JSON.stringify({
      payer,
      signer,
      offerId: offer.offerId,
      cumulative: String(cumulative),
      answers,
      receiptsRoot,
      signature,
    }),
  );
}

const endpoint = async (url, options = {}) => {
  const reply = await fetch(url, {
    credentials: "omit",
    redirect: "error",
    signal: AbortSignal.timeout(PATIENCE),
    ...options,
  });
  if (reply.ok) return reply;
  const problem = await reply.json().catch(() => ({}));
  const detail = problem.detail ?? `${reply.status} ${reply.statusText}`;
  throw Object.assign(refusal(problem.code, detail, problem.hint), {
    voucher: reply.status === 402,
  });
};

/** Send a question; resolves to the receipt as its header has it, and the answer's bytes. */
async function reply({ url, name, offer }, header, { input, params }, hear) {
  const headers = {
    "Content-Type": CANONICAL,
    "Tallystick-Voucher": header,
    "Tallystick-Params": params,
    ...(hear ? { Accept: EVENTS } : {}),
  };
  const path = `${url}/v2/models/${encodeURIComponent(name)}/versions/${offer.version}/infer`;
  const signal = AbortSignal.timeout(hear ? WRITING : PATIENCE);
  const found = await endpoint(path, { method: "POST", headers, body: input, signal });
  if (found.headers.get("Content-Type")?.startsWith(EVENTS)) return streamed(found.body, hear);
  const output = new Uint8Array(await found.arrayBuffer());
  return { receipt: found.headers.get("Tallystick-Receipt"), output };
}

/** Read an answer that comes as events (docs/channels.md); pieces are told on the way. */
async function streamed(body, hear) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(t("channel.none"));
    waiting += value;
    for (let end; (end = waiting.indexOf("\n\n")) >= 0; waiting = waiting.slice(end + 2)) {
      const line = waiting
        .slice(0, end)
        .split("\n")
        .find((one) => one.startsWith("data: "));
      if (!line) continue;
      const facts = JSON.parse(line.slice(6));
      if (facts.name === "piece") hear(facts.text);
      if (facts.name === "failed") throw refusal(facts.code, facts.detail, facts.hint);
      if (facts.name === "answered") {
        const output = Uint8Array.from(atob(facts.output), (c) => c.charCodeAt(0));
        return { receipt: btoa(JSON.stringify(facts.receipt)), output };
      }
    }
  }
}

function unpacked(header) {
  if (!header) throw new Error(t("channel.none"));
  return JSON.parse(atob(header));
}

// ── Receipts ──────────────────────────────────────────────────────────────────────────────────
/** Throw unless a receipt is of this very question and answer, now. */
async function requireFit(channel, receipt, { input, params }, output, askedAt) {
  const [located, answered] = [await sha256(input), await sha256(output)];
  const root = channel.exact ? inputRoot(input) : located;
  const fits =
    receipt.inputRoot === root &&
    receipt.inputCid === (root === located ? ZERO32 : located) &&
    receipt.params === params;
  if (!fits) throw new Error(t("channel.question"));
  if (receipt.outputRoot !== (channel.exact ? outputRoot(output) : answered))
    throw new Error(t("channel.answer"));
  if (receipt.answeredAt < askedAt - CLOCK || receipt.answeredAt > now() + CLOCK)
    throw new Error(t("channel.time"));
}

/** Check whose word a receipt is, and keep it as the next one. */
async function take(channel, receipt, bytes) {
  const digest = receiptDigest(channel, receipt);
  if (!same(await signerOf(digest, receipt.signature), channel.offer.operator))
    throw new Error(t("channel.signature"));
  if (receipt.index !== channel.count + 1 || receipt.index > channel.signed)
    throw new Error(t("channel.index", { index: receipt.index }));
  Object.assign(channel, grown(channel, digest));
  await keepReceipt(channel, receipt, bytes);
}

/** Take over receipts whose replies were lost; says whether there were any. */
async function caughtUp(channel) {
  const { url, payer, signer, offer, count } = channel;
  const place = `${url}/channels/${payer}/${signer}/${offer.offerId}?after=${count}`;
  const { receipts } = await (await endpoint(place)).json();
  for (const receipt of receipts) await take(channel, receipt);
  return receipts.length > 0;
}

// ── Close ─────────────────────────────────────────────────────────────────────────────────────
/** Bring back what is left: resolves to { back } in units, or to { closesAt } when that must wait. */
export const close = (id) =>
  navigator.locks.request(`tallystick ${id}`, async () => {
    const channel = await channelOf(id),
      { signer, payer, offer } = channel;
    const there = await held(channel);
    if (there.deposit === there.claimed) {
      await keep({ ...channel, closed: true, key: "" });
      return { back: 0n };
    }
    const time = await chainTime(),
      over = there.closesAt !== 0 && time >= there.closesAt;
    const consent = over ? null : await agreed(channel, there, time);
    let call = calldata(`close(address,${OFFER},uint256)`, signer, ...offerWords(offer), 0);
    if (over)
      call = calldata(
        `withdraw(address,address,${OFFER})`,
        ...[payer, signer, ...offerWords(offer)],
      );
    else if (consent)
      call = calldata(
        `closeAgreed(address,${OFFER},uint256,uint256,bytes)`,
        ...[signer, ...offerWords(offer), consent.cumulative, consent.deadline, consent.signature],
      );
    else if (channel.closesAt) return { closesAt: channel.closesAt };
    const receipt = await send(channel.channels, call, t);
    const log = receipt.logs.find((one) => one.topics[0] === WITHDRAWN && one.topics[1] === id);
    if (!log) {
      const { closesAt } = await held(channel);
      await keep({ ...channel, closesAt });
      return { closesAt };
    }
    // A key that nothing is left for is not kept
    await keep({ ...channel, closed: true, key: "" });
    return { back: BigInt(words(log.data)[0]) };
  });

/** Return the operator's consent to close at once, or null when it does not give it. */
async function agreed(channel, { claimed }, time) {
  try {
    await caughtUp(channel);
    const due = BigInt(channel.count) * BigInt(channel.offer.fee),
      cumulative = String(due > claimed ? due : claimed),
      deadline = time + CONSENT;
    const signature = await sign(channel.key, closeDigest(channel, cumulative, deadline));
    const { url, payer, signer, offer } = channel;
    const reply = await endpoint(`${url}/channels/${payer}/${signer}/${offer.offerId}/close`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ cumulative, deadline, signature }),
    });
    const consent = (await reply.json()).signature;
    const signed = await signerOf(closeDigest(channel, cumulative, deadline), consent);
    return same(signed, offer.operator) ? { cumulative, deadline, signature: consent } : null;
  } catch {
    return null; // the delay needs nobody's consent
  }
}
