// The account page: what a connected wallet has, asked, and may decide. Calls are encoded here.
import { $, api, chooseWallet, el, page, say, short, t } from "./page.js";
import { rpc } from "./chain.js";
import { calldata } from "./encoding.js";
import { units } from "./numbers.js";
import { send, wallet } from "./wallet.js";

const { market, access, token, credits, rounds } = page.network;

const rows = (list, items, make) =>
  list.replaceChildren(
    ...(items.length ? items.map(make) : [el("li", { class: "empty" }, t("account.nothing"))]),
  );
const button = (text, act, quiet = false) =>
  el("button", { type: "button", class: quiet ? "quiet" : "", onclick: () => run(act) }, text);

async function run(act) {
  const buttons = document.querySelectorAll("#account button");
  for (const one of buttons) one.disabled = true;
  say($("said"), t("wallet.sent"));
  try {
    await act();
    say($("said"), t("wallet.done"), "good");
  } catch (error) {
    say($("said"), error.message, "bad");
  }
  for (const one of buttons) one.disabled = false;
  await show().catch((error) => say($("said"), error.message, "bad"));
}

async function claim(model) {
  // what the market still holds is divided first
  await send(market, calldata("collectModelEarnings(uint256)", model), t);
  await send(credits, calldata("claim(uint256)", model), t);
}

async function show() {
  const mine = wallet().account,
    account = mine ?? new URLSearchParams(window.location.search).get("address");
  $("account").hidden = !account;
  $("account").classList.toggle("others", !mine);
  $("no-wallet").hidden = Boolean(mine);
  if (!account) return;
  $("who").textContent = account;
  const all = await api(`/page/accounts/${account}`);
  for (const name of ["prepaid", "tokens", "ether"]) $(name).textContent = all[name];
  $("decide-card").hidden = !all.decide.length;
  rows($("decide"), all.decide, (a) =>
    el(
      "li",
      {},
      el(
        "span",
        {},
        el("a", { href: `/models/${a.model}` }, a.name),
        " ",
        el("code", { title: a.requester }, short(a.requester, 4)),
        " ",
        a.note ? t("account.note", { note: a.note }) : "",
      ),
      el(
        "span",
        { class: "act" },
        button(t("account.grant"), () =>
          send(
            access,
            calldata("grant(uint256,address,uint40,uint32,uint32)", a.model, a.requester, 0, 0, 0),
            t,
          ),
        ),
        button(
          t("account.deny"),
          () => send(access, calldata("deny(uint256,address)", a.model, a.requester), t),
          true,
        ),
      ),
    ),
  );
  $("earnings-card").hidden = !all.earnings.length;
  rows($("earnings"), all.earnings, (e) =>
    el(
      "li",
      {},
      el("a", { href: `/models/${e.model}` }, e.name),
      el("span", { class: "price" }, e.amount),
      button(
        t("account.claim"),
        () => send(market, calldata("collectModelEarnings(uint256)", e.model), t),
        true,
      ),
    ),
  );
  $("shares-card").hidden = !all.shares.length && !all.returnable;
  rows($("shares"), [...all.shares, ...(all.returnable ? [null] : [])], (s) =>
    s
      ? el(
          "li",
          {},
          el("a", { href: `/models/${s.model}` }, s.name),
          el("span", {}, t("account.share", s)),
          ...(s.payable ? [button(t("account.claim"), () => claim(s.model), true)] : []),
        )
      : el(
          "li",
          {},
          el("span", {}, t("account.returned", { amount: all.returned })),
          button(t("account.claim"), () => send(rounds, calldata("withdraw()"), t), true),
        ),
  );
  rows($("access"), all.access, (a) =>
    el(
      "li",
      {},
      el("a", { href: `/models/${a.model}` }, a.name),
      el("span", { class: "tag" }, t(`status.${a.status}`)),
    ),
  );
  rows($("requests"), all.requests, (r) =>
    el(
      "li",
      {},
      el("a", { href: `/requests/${r.id}` }, el("code", {}, short(r.id))),
      el("span", { class: `tag ${r.state.toLowerCase()}` }, t(`state.${r.state}`)),
      el("span", { class: "price" }, r.fee),
    ),
  );
}

$("deposit").addEventListener("submit", (event) => {
  event.preventDefault();
  run(async () => {
    const amount = units($("amount").value),
      { account } = wallet();
    const allowed = BigInt(
      await rpc(
        "eth_call",
        { to: token, data: calldata("allowance(address,address)", account, market) },
        "latest",
      ),
    );
    if (allowed < amount)
      await send(token, calldata("approve(address,uint256)", market, amount), t);
    await send(market, calldata("deposit(address,uint256)", account, amount), t);
  });
});
$("withdraw").addEventListener("click", () =>
  run(() =>
    send(
      market,
      calldata("withdraw(address,uint256)", wallet().account, units($("amount").value)),
      t,
    ),
  ),
);
$("account-connect").addEventListener("click", async () => {
  try {
    await chooseWallet();
  } catch (error) {
    say($("said"), error.message, "bad");
  }
});
document.addEventListener("wallet", () =>
  show().catch((error) => say($("said"), error.message, "bad")),
);
$("noscript").remove();
$("no-wallet").hidden = false;
show().catch((error) => say($("said"), error.message, "bad"));
