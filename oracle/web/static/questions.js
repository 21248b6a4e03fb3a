// What every form that asks has: its model, its parameters, the wait for an answer, and its ends.
import { $, api, el, say, t } from "./page.js";

export const form = JSON.parse($("form-data").textContent);

/** Return the parameters that differ from what the model takes by itself. */
export function params() {
  const inputs = [...document.querySelectorAll("[data-param]")];
  return Object.fromEntries(
    inputs
      .filter((i) => Number(i.value) !== Number(i.dataset.default))
      .map((i) => [i.dataset.param, Number(i.value)]),
  );
}

export const query = (name) => new URLSearchParams({ model: form.model, version: form.version, name });

/** An error after which the fee comes back. */
const unpaid = (message) => Object.assign(new Error(message), { unpaid: true });

/** Return what a worker's event `failed` says, as an error. */
export function failure({ reason, refund_after: after }) {
  const time = new Date(1000 * after).toLocaleTimeString(document.documentElement.lang);
  return unpaid(t("try.failed", { reason, time }));
}

/** Say why a question was not answered, with where to go next. */
export function explain(error, payer) {
  const said = $("said"),
    about = error.title ?? "";
  say(said, error.message, "bad");
  if (/^Grant|^Application/.test(about))
    said.append(" ", el("a", { href: `/models/${error.model ?? form.model}#access` }, t("try.toAccess")));
  if (payer === "wallet" && /^Balance/.test(about))
    said.append(" ", el("a", { href: "/account" }, t("try.toAccount")));
}

/** Show a form that is ready: its modules run, and its buttons are heard. */
export function open() {
  $("apply-sponsored")?.addEventListener("click", async ({ target }) => {
    target.disabled = true;
    try {
      await api(`/page/apply?model=${form.model}`, { method: "POST" });
      say($("said"), t("try.applied"), "good");
    } catch (error) {
      say($("said"), error.message, "bad");
      target.disabled = false;
    }
  });
  $("noscript").remove();
  $("bench").hidden = false;
}

/** Wait for an answer; `see` is told every state. `early` may end a pause, or all by an error. */
export async function whenAnswered(id, see = () => {}, early = () => new Promise(() => {})) {
  let since = 0;
  for (;;) {
    const state = await api(`/page/requests/${id}?since=${since}`);
    since = state.block;
    see(state);
    if (state.output) return api(`/page/requests/${id}/answer`);
    if (!state.open || state.expired) throw unpaid(t("try.unanswered"));
    await Promise.race([new Promise((resolve) => setTimeout(resolve, 250)), early()]);
  }
}

for (const slider of document.querySelectorAll("[data-param]")) {
  slider.addEventListener("input", () => {
    slider.nextElementSibling.value = slider.value;
  });
}
