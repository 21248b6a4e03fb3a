// Try it: from a drawing, a file or a text to a paid answer, and what both look like.
import { $, api, chooseWallet, el, page, say, t } from "./page.js";
import { askWithWallet } from "./asking.js";
import { drawingPad } from "./draw.js";
import { explain, failure, form, open, params, query, whenAnswered } from "./questions.js";
import { occlusion } from "./occlusion.js";
import { showAnswer, showSeen } from "./show.js";
import { runBatch } from "./batch.js";
import { wallet } from "./wallet.js";

const said = $("said");
let pad = null,
  latest = 0,
  unseen = null, // why the last sample could not be shown
  watched = "";
const instant = new Map(); // answers that came with their question: requests nobody need wait for
const overChannel = $("channel") ? import("./channel.js") : null;

// ── What is asked ─────────────────────────────────────────────────────────────────────────────
const how = () => document.querySelector("input[name=how]:checked").value;

/** Return [{ name, data }] of everything that the visitor gave. */
async function given() {
  if (how() === "file")
    return [...$("file").files].map((file) => ({ name: file.name, data: file }));
  if (how() === "draw")
    return pad.empty() ? [] : [{ name: "drawing.png", data: await pad.picture() }];
  if (how() === "fields") {
    const row = [...document.querySelectorAll("[data-feature]")].map((i) => Number(i.value));
    return [{ name: "rows.json", data: JSON.stringify([row]) }];
  }
  const text = $("words").value.trim();
  const name = { text: "words.txt", table: "rows.csv", tensor: "value.json" }[form.kind];
  return text
    ? [{ name: form.kind === "table" && /^[[{]/.test(text) ? "rows.json" : name, data: text }]
    : [];
}

/** Return how the model sees a sample; spends nothing. */
const preview = (sample) =>
  api(`/page/preview?${query(sample.name)}`, { method: "POST", body: sample.data });

/** Ask, paid by this site, the visitor's wallet or its channel; resolves to { request, left? }. */
async function ask(sample, payer) {
  const asked = query(sample.name);
  asked.set("params", JSON.stringify(params()));
  if (payer === "wallet") return askWithWallet(asked, sample.data);
  if (payer === "channel") {
    const found = await (await overChannel).askWithChannel(asked, sample.data);
    instant.set(found.request, found.answer);
    return found;
  }
  return api(`/page/ask?${asked}`, { method: "POST", body: sample.data });
}

async function look() {
  const mine = ++latest;
  const [sample] = await given();
  if (!sample) return;
  try {
    const seen = await preview(sample);
    if (mine === latest) {
      showSeen($("seen"), seen, form);
      if (said.textContent === unseen) say(said, ""); // what an ask was refused for stays
    }
  } catch (error) {
    if (mine === latest) say(said, (unseen = error.message), "bad");
  }
}

// ── What becomes of it ────────────────────────────────────────────────────────────────────────
/** Hear of a request's steps, as far as its delivery, where this server streams them. */
function listen(id, hear) {
  if (!page.network.events) return;
  const stream = new EventSource(page.network.events.replace("{id}", id));
  for (const step of ["fetched", "running", "failed", "delivered"])
    stream.addEventListener(step, (event) => hear(step, JSON.parse(event.data)));
  for (const end of ["delivered", "error"]) stream.addEventListener(end, () => stream.close());
}

/** Wait for an answer, or return the one that came with its question. */
const answered = async (id, see, early) => instant.get(id) ?? whenAnswered(id, see, early);

/** As `answered`, for one question that is looked at: also tells what its worker does. */
async function watch(id) {
  let wake = () => {},
    failed = null;
  const working = document.querySelector("#steps [data-step=working]");
  working.querySelector("small")?.remove();
  listen(id, (step, facts) => {
    if (step === "failed") failed = failure(facts);
    if (["failed", "delivered"].includes(step)) {
      wake();
      return;
    }
    working.querySelector("small")?.remove();
    working.append(el("small", {}, ` ${t(`try.${step}`)}`));
  });
  return answered(id, showSteps, async () => {
    if (!failed)
      await new Promise((resolve) => {
        wake = resolve;
      });
    if (failed) throw failed;
  });
}

function showSteps(state) {
  const at = { REQUESTED: 1, CLAIMED: 1, DELIVERED: 3, SETTLED: 5 }[state.state] ?? 1;
  document.querySelectorAll("#steps li").forEach((li, i) => {
    li.className = i < at ? "done" : i === at ? "now" : "";
    if (!state.open && state.state !== "SETTLED" && i === at) li.className = "wrong";
    if (i === at) li.setAttribute("aria-current", "step");
    else li.removeAttribute("aria-current");
  });
}

async function follow(id) {
  // to the end of the window, as long as nothing else is asked
  watched = id;
  for (let i = 0; i < 200 && watched === id; i++) {
    const state = await api(`/page/requests/${id}`).catch(() => null);
    if (state) showSteps(state);
    if (state && !state.open) return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function start(payer) {
  const samples = await given();
  if (!samples.length) return say(said, t("try.nothing"), "bad");
  if (payer === "wallet" && !wallet().account && !(await chooseWallet())) return undefined;
  if (samples.length > 1) return runBatch(samples, payer, { ask, answered, proof });
  const [sample] = samples;
  say(said, t("try.preparing"));
  const seen = await preview(sample);
  showSeen($("seen"), seen, form);
  say(said, t({ wallet: "try.wallet", channel: "try.signing" }[payer] ?? "try.asking"));
  const asked = await ask(sample, payer);
  say(said, t("try.waiting"));
  $("proof-link").replaceChildren(proof(asked.request));
  watched = asked.request;
  const answer = instant.get(asked.request) ?? (await watch(asked.request));
  showAnswer($("answer"), answer, form, seen);
  $("answer").scrollIntoView({ block: "nearest" });
  say(
    said,
    [t("try.answered"), asked.left === undefined ? "" : t("try.left", { left: asked.left })].join(
      " ",
    ),
    "good",
  );
  occlusion($("after"), seen, answer, payer, { ask, answered, proof, form });
  if (instant.has(asked.request)) return undefined; // the chain has heard nothing of it
  follow(asked.request);
  renewReadiness();
  return undefined;
}

/** Return a link to what proves an answer: the request's page, or the receipts kept here. */
const proof = (request) =>
  instant.has(request)
    ? el("a", { href: "/receipts" }, t("try.kept"))
    : el("a", { href: `/requests/${request}` }, t("try.proof"));

/** Say when the last answer was, in the words of a page that is loaded now. */
async function renewReadiness() {
  const now = await fetch(location.href).then((found) => found.text());
  const ready = new DOMParser().parseFromString(now, "text/html").getElementById("ready");
  if (ready) $("ready").replaceWith(ready);
}

async function press(payer) {
  const buttons = ["ask-sponsored", "ask-wallet", "ask-channel"].map($).filter(Boolean);
  for (const button of buttons) button.disabled = true;
  try {
    await start(payer);
  } catch (error) {
    explain(error, payer);
  }
  for (const button of buttons) button.disabled = false;
  if (payer === "channel") await (await overChannel).show();
}

// ── The form ──────────────────────────────────────────────────────────────────────────────────
const EXAMPLES = {
  text: "The cat sleeps on the warm stove.\nA kitten naps beside the fire.\nInterest rates rose by a quarter of a point.\nThe central bank made borrowing dearer.\nShe planted tomatoes in the garden.",
  table: form.inputs[0].shape.length
    ? [0, 1, 2]
        .map((r) =>
          Array.from(
            { length: form.inputs[0].shape.at(-1) ?? 4 },
            (_, i) => ((i * 7 + r * 3) % 10) / 10,
          ).join(","),
        )
        .join("\n")
    : "",
};

function delayed(act, wait = 250) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
}

if (form.kind === "image") {
  pad = drawingPad($("pad"), delayed(look));
  $("clear").addEventListener("click", () => pad.clear());
  $("example").addEventListener("click", () => pad.example());
} else {
  $("words").addEventListener("input", delayed(look, 500));
  $("example").addEventListener("click", () => {
    $("words").value = EXAMPLES[form.kind] ?? nested();
    look();
  });
}

function nested() {
  // zeros in the shape of each input
  const fill = ([n, ...rest]) =>
    Array.from({ length: n ?? 1 }, () => (rest.length ? fill(rest) : 0));
  return JSON.stringify(
    Object.fromEntries(form.inputs.map((i) => [i.name, i.shape.length ? fill(i.shape) : 0])),
  );
}

for (const field of document.querySelectorAll("[data-feature]"))
  field.addEventListener("input", delayed(look));
$("file").addEventListener("change", look);
for (const radio of document.querySelectorAll("input[name=how]")) {
  radio.addEventListener("change", () => {
    for (const panel of document.querySelectorAll("[data-panel]"))
      panel.hidden = panel.dataset.panel !== how();
    look();
  });
}
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  press($("ask-sponsored") ? "sponsor" : "wallet");
});
$("ask-wallet").addEventListener("click", () => press("wallet"));
$("ask-channel")?.addEventListener("click", () => press("channel"));
open();
