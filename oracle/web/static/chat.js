// A chat: each question carries all that was said, answers are shown while they are written.
//
//   words ─▶ question ─▶ site, wallet or channel ─▶ pieces, shown as text ─▶ the checked answer
//     └─▶ passages, where the version names knowledge: see knowledge.js
//
// Nothing that a model writes is ever parsed as HTML: every text becomes a text node.
import { $, api, chooseWallet, el, page, say, t } from "./page.js";
import { askWithWallet } from "./asking.js";
import { consulted, knowledge, lookedUp, nearest } from "./knowledge.js";
import { dollars } from "./numbers.js";
import { explain, failure, form, open, params, query, whenAnswered } from "./questions.js";
import { passages } from "./show.js";
import { wallet } from "./wallet.js";

const BUTTONS = ["ask-channel", "ask-sponsored", "ask-wallet"];
const said = $("said"),
  talk = $("talk");
const overChannel = $("channel") ? import("./channel.js") : null;
let messages = [],
  spent = 0n,
  turn = null; // the answer that is being written

// ── Asked ─────────────────────────────────────────────────────────────────────────────────────
/** A seed of its own for each question: the same one would bring the same answer again. */
function seed() {
  if (!form.seeds) return {};
  const [low, high] = form.seeds,
    [drawn] = crypto.getRandomValues(new Uint32Array(1));
  return { seed: low + (drawn % (high - low + 1)) };
}

/** Ask, and resolve to { answer, proof, passages }, or to null if it was stopped before.
 *
 * `hear` is told pieces, and null when they begin anew. */
async function written(payer, content, mine, hear) {
  const system = $("system").value.trim();
  const before = [...(system ? [{ role: "system", content: system }] : []), ...messages];
  const found = (await consulted()) ? await looked(payer, content, before) : { passages: [] };
  if (mine.stopped) return null;
  const question = found.question ?? { messages: [...before, { role: "user", content }] };
  say(said, t({ wallet: "try.wallet", channel: "try.signing" }[payer] ?? "try.asking"));
  const data = JSON.stringify(question),
    asked = query("question.json");
  asked.set("params", JSON.stringify({ ...params(), ...seed() }));
  if (payer === "channel") {
    const { answer } = await (await overChannel).askWithChannel(asked, data, hear);
    pay(form.fee);
    return { answer, proof: "/receipts", passages: found.passages };
  }
  const { request, answer } = await bought(payer, asked, data, form.fee, hear);
  return { answer, proof: `/requests/${request}`, passages: found.passages };
}

/** Pay for a question's embedding, and return the passages that are nearest; see knowledge.js. */
async function looked(payer, content, before) {
  const index = await knowledge,
    { model, version } = index,
    asked = new URLSearchParams({ model, version, name: "words.txt", params: "{}" });
  say(said, t("knowledge.looking"));
  try {
    const text = lookedUp(content, messages, index);
    const { request } = await bought(payer, asked, text, index.fee, () => {});
    return await nearest(request, content, before);
  } catch (error) {
    throw Object.assign(error, { model });
  }
}

/** Ask on the chain, and resolve to { request, answer }. A channel pays one model: not this one. */
async function bought(payer, asked, data, fee, hear) {
  const { request } =
    payer === "sponsored"
      ? await api(`/page/ask?${asked}`, { method: "POST", body: data })
      : await askWithWallet(asked, data);
  pay(fee);
  const { stream, failed } = listen(request, hear);
  try {
    const answer = await whenAnswered(request, undefined, failed);
    pay(answer.cost - fee); // what is paid by its units costs less than was escrowed
    return { request, answer };
  } catch (error) {
    if (error.unpaid) pay(-fee);
    throw error;
  } finally {
    stream?.close();
  }
}

function pay(amount) {
  spent += BigInt(amount);
  $("spent").textContent = dollars(spent);
}

/** Hear how a text grows, where this server streams it; `failed` rejects when nobody can answer. */
function listen(request, hear) {
  if (!page.network.events) return {};
  const stream = new EventSource(page.network.events.replace("{id}", request));
  let fail = () => {};
  const failed = new Promise((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  stream.addEventListener("piece", (event) => {
    const { start, text } = JSON.parse(event.data);
    if (start === 0) hear(null);
    hear(text);
  });
  stream.addEventListener("failed", (event) => {
    fail(failure(JSON.parse(event.data)));
  });
  stream.addEventListener("error", () => stream.close());
  return { stream, failed: () => failed };
}

// ── Shown ─────────────────────────────────────────────────────────────────────────────────────
/** Add a turn to the talk; returns where its text goes, and where what belongs to it goes. */
function add(role, content) {
  const text = el("p", { class: "words" }, content),
    beside = el("p", { class: "beside" });
  $("turns").append(el("li", { class: role }, el("strong", {}, t(`chat.${role}`)), text, beside));
  talk.scrollTop = talk.scrollHeight;
  return { text, beside };
}

/** Return what takes pieces and shows each character once. */
function listener(place, mine) {
  let heard = "";
  return (piece) => {
    heard = piece === null ? "" : heard + piece;
    if (mine.stopped || heard.length <= mine.shown.length || !heard.startsWith(mine.shown)) return;
    place.append(heard.slice(mine.shown.length));
    mine.shown = heard;
    talk.scrollTop = talk.scrollHeight;
  };
}

function copyButton(content) {
  const button = el("button", { type: "button", class: "quiet" }, t("chat.copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(content);
    say(said, t("chat.copied"), "good");
  });
  button.hidden = !navigator.clipboard;
  return button;
}

// ── One turn ──────────────────────────────────────────────────────────────────────────────────
async function press(payer) {
  const content = $("words").value.trim();
  if (!content) return say(said, t("chat.nothing"), "bad");
  if (turn) return undefined;
  const mine = { stopped: false, shown: "", stop: () => {} };
  turn = mine;
  for (const button of BUTTONS.map($).filter(Boolean)) button.disabled = true;
  let question, answer;
  try {
    const signs = payer === "wallet" || (payer === "channel" && (await consulted()));
    if (signs && !wallet().account && !(await chooseWallet())) return undefined;
    question = add("user", content);
    answer = add("assistant", "");
    $("words").value = "";
    $("stop").hidden = false;
    const stopped = new Promise((resolve) => {
      mine.stop = () => resolve(null);
    });
    const work = written(payer, content, mine, listener(answer.text, mine));
    work.catch(() => {}); // of a stopped one nobody hears
    show(answer, mine, await Promise.race([work, stopped]));
    if (mine.shown) messages.push({ role: "user", content }, { role: "assistant", content: mine.shown });
  } catch (error) {
    answer?.text.closest("li").remove();
    question?.text.closest("li").remove();
    $("words").value ||= content;
    explain(error, payer);
  } finally {
    turn = null;
    $("stop").hidden = true;
    for (const button of BUTTONS.map($).filter(Boolean)) button.disabled = false;
    if (payer === "channel") await (await overChannel).show();
    $("words").focus();
  }
  return undefined;
}

/** Show the checked answer, or that it was stopped. */
function show({ text, beside }, mine, found) {
  if (!found) {
    mine.stopped = true;
    beside.append(t("chat.stopped"));
    say(said, "");
    return;
  }
  const { answer, proof, passages: shown } = found;
  const other = !answer.text.startsWith(mine.shown);
  mine.shown = answer.text;
  text.textContent = answer.text;
  const [prompt, wrote] = answer.tokens;
  beside.append(
    t("chat.used", { prompt, written: wrote }),
    ...(answer.finishReason === "length" ? [" ", t("chat.cut")] : []),
    " ",
    el("a", { href: proof }, t("try.proof")),
    " ",
    copyButton(answer.text),
  );
  for (const call of answer.calls)
    beside.before(el("p", { class: "words" }, `${call.name}(${call.arguments})`));
  if (shown.length) beside.after(...passages(shown, answer.text));
  say(said, other ? t("chat.other") : t("try.answered"), other ? "bad" : "good");
}

for (const id of BUTTONS) $(id)?.addEventListener("click", () => press(id.slice(4)));
$("stop").addEventListener("click", () => turn?.stop());
$("anew").addEventListener("click", () => {
  turn?.stop();
  messages = [];
  $("turns").replaceChildren();
  say(said, "");
});
$("ask").addEventListener("submit", (event) => event.preventDefault());
$("words").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // composing: Chinese
  event.preventDefault();
  BUTTONS.map($).find((button) => button && !button.hidden && !button.disabled)?.click();
});
open();
