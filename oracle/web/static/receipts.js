// The page of receipts: files or pasted text to the server's checks, each finding a line.
import { $, api, el, page, say, short, t } from "./page.js";
import { channelsOf, fileOf, receiptsOf } from "./kept.js";

const form = $("receipts"),
  files = $("files"),
  pasted = $("pasted"),
  said = $("said");
const CLASSES = { checked: "", wrong: "bad", unknown: "note" };

const line = ({ what, result, why }) =>
  el(
    "li",
    { class: CLASSES[result], "data-result": result },
    el("strong", {}, what),
    ` ${t(`receipts.${result}`)} · ${why}`,
  );

/** Return a sentence with what stands between backticks as code. */
const sentence = (text) =>
  text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));

function card({ wrong, facts, checks, next }) {
  return el(
    "section",
    { class: "card" },
    el("h2", {}, t(wrong ? "receipts.bad" : "receipts.good")),
    el("ul", { class: "checks plain" }, ...checks.map(line)),
    el("p", { class: "next" }, ...sentence(next)),
    el(
      "dl",
      { class: "digests" },
      ...facts.map(([name, value]) =>
        el("div", {}, el("dt", {}, name), el("dd", {}, el("code", { class: "digest" }, value))),
      ),
    ),
  );
}

async function check(texts) {
  say(said, t("receipts.reading"));
  $("found").replaceChildren();
  try {
    const documents = texts.flatMap((text) => JSON.parse(text));
    const found = await api("/page/receipts", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(documents),
    });
    const together = found.together.length
      ? [
          el(
            "section",
            { class: "card" },
            el("ul", { class: "checks plain" }, ...found.together.map(line)),
          ),
        ]
      : [];
    $("found").replaceChildren(...found.receipts.map(card), ...together);
    say(said, t(found.wrong ? "receipts.bad" : "receipts.good"), found.wrong ? "bad" : "good");
  } catch (error) {
    say(said, error instanceof SyntaxError ? t("receipts.none") : error.message, "bad");
  }
}

const texts = async (list) => Promise.all([...list].map((file) => file.text()));

form.hidden = false;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const typed = pasted.value.trim();
  const given = [...(await texts(files.files)), ...(typed ? [typed] : [])];
  if (given.length) await check(given);
  else say(said, t("receipts.none"), "bad");
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) await check(await texts(event.dataTransfer.files));
});

// ── Kept in this browser ──────────────────────────────────────────────────────────────────────
const MOST = 20; // that are checked together

function keptCard(channel, receipts) {
  const files = receipts.map((one) => fileOf(channel, one)),
    text = JSON.stringify(files, null, 1),
    latest = files.slice(-MOST);
  return el(
    "li",
    {},
    el("span", {}, t("kept.channel", { name: channel.name, count: files.length })),
    " ",
    el("code", { title: channel.offer.operator }, short(channel.offer.operator, 4)),
    el(
      "span",
      { class: "act" },
      el(
        "button",
        { type: "button", class: "quiet", onclick: () => check([JSON.stringify(latest)]) },
        t("kept.check", { count: latest.length }),
      ),
      el(
        "a",
        {
          class: "button",
          download: `receipts-${channel.id.slice(2, 10)}.json`,
          href: URL.createObjectURL(new Blob([text], { type: "application/json" })),
        },
        t("try.download", { kind: "JSON" }),
      ),
    ),
  );
}

async function showKept() {
  const { chainId, channels } = page.network;
  const cards = [];
  for (const channel of (await channelsOf(chainId, channels)).reverse()) {
    const receipts = await receiptsOf(channel.id);
    if (receipts.length) cards.push(keptCard(channel, receipts));
  }
  $("kept-card").hidden = !cards.length;
  $("kept").replaceChildren(...cards);
}

showKept().catch((error) => say(said, error.message, "bad"));
