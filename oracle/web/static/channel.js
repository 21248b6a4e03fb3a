// The card of a channel on a model's form: open it once, see what is left, take back the rest.
import { $, api, chooseWallet, el, page, say, short, t } from "./page.js";
import { channelsOf, receiptsOf } from "./kept.js";
import { dollars, units } from "./numbers.js";
import * as paying from "./paying.js";
import { wallet } from "./wallet.js";

const form = JSON.parse($("form-data").textContent);
const said = $("channel-said");
const when = (seconds) =>
  new Date(1000 * seconds).toLocaleString(document.documentElement.lang, {
    dateStyle: "short",
    timeStyle: "short",
  });
let shown = null; // the channel that this page asks over

/** Return the channel of this version that has money, the newest; null = none. */
async function find() {
  const { chainId, channels } = page.network;
  const every = (await channelsOf(chainId, channels)).filter(
    (one) =>
      !one.closed &&
      String(one.offer.modelId) === String(form.model) &&
      String(one.offer.version) === String(form.version),
  );
  for (const one of every.reverse()) {
    if (one.deposit !== "0") return one;
    const found = await paying.recall(one).catch(() => one); // no chain to ask yet
    if (found.deposit !== "0") return found;
  }
  return null;
}

/** Show where the channel stands. */
export async function show() {
  shown = await find();
  $("channel-open").hidden = Boolean(shown) || !form.sale;
  $("channel-shut").hidden = Boolean(shown || form.sale);
  $("channel-now").hidden = $("ask-channel").hidden = !shown;
  if (!shown) return;
  $("ask-channel").disabled = paying.expired(shown) || Boolean(shown.wrong);
  $("channel-left").textContent = dollars(paying.left(shown));
  $("channel-until").textContent = when(shown.expiry);
  $("channel-payer").textContent = short(shown.payer, 4);
  $("channel-operator").textContent = short(shown.offer.operator, 4);
  const receipts = await receiptsOf(shown.id);
  $("channel-receipts").replaceChildren(
    ...receipts
      .reverse()
      .slice(0, 5)
      .map(({ index, receipt }) =>
        el(
          "li",
          {},
          t("channel.receipt", { index, time: when(receipt.answeredAt) }),
          " ",
          el("code", { title: receipt.outputRoot }, short(receipt.outputRoot, 4)),
        ),
      ),
  );
  if (paying.expired(shown)) say(said, t("channel.expired"), "bad");
}

/** Ask over the channel; resolves to { request, answer }. The wallet is not asked.
 *  `hear` is told the pieces of a text, and null when they begin anew. */
export async function askWithChannel(query, data, hear = null) {
  const encoded = await api(`/page/encode?${query}`, { method: "POST", body: data });
  const input = Uint8Array.from(atob(encoded.input), (c) => c.charCodeAt(0));
  const found = await paying.ask(shown.id, { input, params: encoded.params }, hear);
  const path = `/page/decode?${new URLSearchParams({ model: form.model, version: form.version })}`;
  const answer = await api(path, { method: "POST", body: found.output });
  return { request: found.request, answer: { ...answer, root: found.receipt.outputRoot } };
}

/** Do what a button stands for, with the wallet that it needs. */
async function run(button, payer, act) {
  button.disabled = true;
  try {
    if (!wallet().account && !(await chooseWallet())) return;
    if (payer && wallet().account.toLowerCase() !== payer.toLowerCase())
      throw new Error(t("channel.payer", { payer }));
    say(said, t("try.wallet"));
    const done = await act();
    await show();
    say(said, done, "good");
  } catch (error) {
    say(said, error.message, "bad");
    if (error.title === "BalanceInsufficient")
      said.append(" ", el("a", { href: "/account" }, t("try.toAccount")));
  } finally {
    button.disabled = false;
  }
}

$("channel-open").addEventListener("submit", (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  run(button, "", async () => {
    const amount = units($("channel-limit").value);
    const opened = await paying.open(form.sale, form, amount, 3600 * $("channel-hours").value);
    return t("channel.opened", { amount: dollars(amount), time: when(opened.expiry) });
  });
});
$("channel-close").addEventListener("click", (event) =>
  run(event.target, shown.payer, async () => {
    const { back, closesAt } = await paying.close(shown.id);
    return back === undefined
      ? t("channel.closing", { time: when(closesAt) })
      : t("channel.back", { amount: dollars(back) });
  }),
);
document.addEventListener("wallet", () => show().catch((error) => say(said, error.message, "bad")));
show().catch((error) => say(said, error.message, "bad"));
