// Passages for a question: the index that the version names, searched with a paid embedding.
//
//   question ─▶ embedding, paid ─▶ passages from the server ─▶ the question with them
import { $, api, el, t } from "./page.js";
import { dollars } from "./numbers.js";
import { form } from "./questions.js";

const place = new URLSearchParams({ model: form.model, version: form.version });

/** Resolves to what the index is, once it is open here, or to null: there is none, or it is lost. */
export const knowledge = form.knowledge ? opened() : Promise.resolve(null);

/** Whether the next question is answered from passages. */
export const consulted = async () => (await knowledge) !== null && $("consult").checked;

async function opened() {
  const about = $("knowledge-about");
  try {
    const index = await api(`/page/knowledge?${place}`),
      { name, passages: count, embedder, fee } = index;
    about.replaceChildren(
      t("knowledge.about", { name, count, embedder, fee: dollars(BigInt(fee)) }),
      ...($("channel") ? [" ", t("knowledge.wallet")] : []),
      " ",
      el("code", {}, index.cid),
    );
    $("consult").disabled = false;
    $("consult").checked = true;
    return index;
  } catch (error) {
    about.textContent = t("knowledge.none", { reason: error.message });
    about.classList.add("bad");
    return null;
  }
}

/** Return what is looked up: a question of few words goes together with the one before. */
export function lookedUp(question, messages, { short }) {
  const words = question.split(/\s+/),
    before = messages.findLast(({ role }) => role === "user")?.content ?? "";
  return (words.length > short ? question : `${before} ${question}`).replace(/\s+/g, " ").trim();
}

/** Return { passages, question }: what is nearest to an embedding, and what the model is asked. */
export const nearest = (request, question, messages) =>
  api(`/page/passages?${place}`, {
    method: "POST",
    body: JSON.stringify({ request, question, messages }),
  });
