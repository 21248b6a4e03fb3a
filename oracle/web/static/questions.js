// What every form that asks has: its model, its parameters, and the wait for an answer.
import { $, api, t } from "./page.js";

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

/** Wait for an answer; `see` is told every state. `early` may end a pause, or all by an error. */
export async function whenAnswered(id, see = () => {}, early = () => new Promise(() => {})) {
  let since = 0;
  for (;;) {
    const state = await api(`/page/requests/${id}?since=${since}`);
    since = state.block;
    see(state);
    if (state.output) return api(`/page/requests/${id}/answer`);
    if (!state.open || state.expired) throw new Error(t("try.unanswered"));
    await Promise.race([new Promise((resolve) => setTimeout(resolve, 250)), early()]);
  }
}

for (const slider of document.querySelectorAll("[data-param]")) {
  slider.addEventListener("input", () => {
    slider.nextElementSibling.value = slider.value;
  });
}
