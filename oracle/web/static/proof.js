// The proof page: the request from the chain, input and answer from their bytes, every digest again.
import { $, api, el, page, say, t } from "./page.js";
import { block, logs } from "./chain.js";
import { concat, keccakHex, sha256, topicOf, unhex, word, words, ZERO32 } from "./encoding.js";
import { inputRoot, outputRoot } from "./exact.js";
import { showAnswer, showSeen } from "./show.js";
import { join } from "./tally.js";

const REQUEST = "(uint256,uint256,uint256,bytes32,bytes32,bytes32,bytes32,uint256)";
const REQUESTED = topicOf(`Requested(bytes32,uint256,address,${REQUEST})`);
const DELIVERED = topicOf("Delivered(bytes32,address,bytes32,bytes32,uint256)");
const card = $("proof"),
  button = $("check"),
  list = $("checks");

let wrong = 0;
function note(fits, good, bad) {
  list.append(el("li", { class: fits ? "" : "bad" }, fits ? good : bad));
  if (!fits) wrong += 1;
}

async function check() {
  const id = card.dataset.request,
    exact = Boolean(card.dataset.exact);
  const [asked] = await logs(page.network.market, REQUESTED, id);
  const fields = asked ? words(asked.data) : [];
  const computed = asked
    ? keccakHex(concat(word(page.network.chainId), word(page.network.market), ...fields.map(unhex)))
    : ZERO32;
  note(computed === id, t("proof.id"), t("proof.idBad"));
  if (!asked) return false;
  const [root, cid] = [fields[3], fields[4]];
  const input = await block(cid === ZERO32 ? root : cid);
  if (!input) note(false, "", t("verify.missing", { what: t("proof.input") }));
  else
    note(
      (exact ? inputRoot(input) : await sha256(input)) === root,
      t("proof.input"),
      t("proof.inputBad"),
    );
  const [delivered] = await logs(page.network.market, DELIVERED, id);
  if (!delivered) return false;
  const [promised, place] = words(delivered.data);
  const output = await block(place === ZERO32 ? promised : place);
  if (!output) {
    note(false, "", t("verify.missing", { what: t("proof.output") }));
    return true;
  }
  const found = exact ? outputRoot(output) : await sha256(output);
  const shown = card.querySelector("[data-root]");
  note(
    found === promised && shown?.dataset.root === promised,
    t("proof.output"),
    t("proof.outputBad"),
  );
  if (shown) join(shown.querySelector(".stick"), found, found === shown.dataset.root);
  return true;
}

/** Show question and answer as people read them; what cannot be had is said in its place. */
async function exchange() {
  const path = `/page/requests/${card.dataset.request}`;
  const missing = (place) => (error) => {
    $(place).replaceChildren(el("p", { class: "empty" }, error.message));
    return null;
  };
  const asked = await api(`${path}/question`).catch(missing("question"));
  if (asked) showSeen($("question"), asked, asked);
  if (!card.querySelector("[data-root]")) return;
  const answer = await api(`${path}/answer`).catch(missing("answer"));
  if (answer) showAnswer($("answer"), answer, asked, asked ?? { texts: [] });
}

exchange();
button.hidden = false;
button.addEventListener("click", async () => {
  button.disabled = true;
  wrong = 0;
  list.replaceChildren();
  say($("said"), t("proof.reading"));
  try {
    const answered = await check();
    say(
      $("said"),
      t(wrong ? "proof.bad" : answered ? "proof.good" : "proof.waiting"),
      wrong ? "bad" : "good",
    );
  } catch (error) {
    say($("said"), error.message, "bad");
  }
  button.disabled = false;
});
