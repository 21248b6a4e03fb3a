// What every page has: its texts, its elements, the wallet button.
import { connect, discover, wallet } from "./wallet.js";

export const page = JSON.parse(document.getElementById("page-data").textContent);
export const $ = (id) => document.getElementById(id);

/** Return a text in the visitor's language with its {placeholders} filled. */
export function t(key, values = {}) {
  const text = page.strings[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) =>
    name in values ? String(values[name]) : whole,
  );
}

/** Make an element; children are nodes or text, so nothing is ever parsed as HTML. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Make an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

/** Say something in a status line; kind is "", "good" or "bad". */
export function say(node, text, kind = "") {
  node.textContent = text;
  node.className = `result ${kind}`.trim();
}

/** Return what a server refused, in the visitor's language where the page knows its kind. */
export function refusal(title, detail, hint) {
  const own = [detail, hint].filter(Boolean).join(" — ");
  const text = `problem.${title}` in page.strings ? t(`problem.${title}`, { detail: own }) : own;
  return Object.assign(new Error(text), { title });
}

/** Ask this server for JSON; what it refuses is thrown with its own words. */
export async function api(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const detail = body.detail ?? `${answer.status} ${answer.statusText}`;
    throw refusal(body.title, detail, body.hint);
  }
  return body;
}

export const short = (text, keep = 6) =>
  text.length > 2 * keep + 3 ? `${text.slice(0, keep + 2)}…${text.slice(-keep)}` : text;

/** Return bytes as a person would write them. */
export function size(bytes) {
  for (const [unit, factor] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ])
    if (bytes >= factor) return `${(bytes / factor).toFixed(1)} ${unit}`;
  return `${bytes} B`;
}

/** Let the visitor choose a wallet; resolves to its account, or null. */
export async function chooseWallet() {
  const found = discover();
  if (!found.length) throw new Error(t("wallet.none"));
  let chosen = found[0];
  if (found.length > 1) {
    chosen = await new Promise((resolve) => {
      const dialog = $("wallets");
      $("wallet-list").replaceChildren(
        ...found.map((one) =>
          el(
            "li",
            {},
            el(
              "button",
              {
                type: "button",
                class: "quiet",
                onclick: () => {
                  resolve(one);
                  dialog.close();
                },
              },
              ...(/^data:image\//.test(one.icon ?? "")
                ? [el("img", { src: one.icon, alt: "" })]
                : []),
              one.name,
            ),
          ),
        ),
      );
      dialog.addEventListener("close", () => resolve(null), { once: true });
      dialog.showModal();
    });
  }
  if (!chosen) return null;
  const account = await connect(chosen.provider, page.network.chainId, t);
  showAccount();
  document.dispatchEvent(new CustomEvent("wallet"));
  return account;
}

function showAccount() {
  const { account } = wallet();
  if (account) $("connect").textContent = short(account, 4);
}

/** Let the buttons in a part of the page copy what they name. */
export function copyable(part = document) {
  for (const button of part.querySelectorAll?.("[data-copy]") ?? []) {
    button.hidden = !navigator.clipboard; // browsers offer it on https and on this machine only
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("done");
      setTimeout(() => button.classList.remove("done"), 1500);
    });
  }
}

copyable();
$("connect").hidden = false;
$("connect").addEventListener("click", async () => {
  try {
    await chooseWallet();
  } catch (error) {
    window.alert(error.message);
  }
});
