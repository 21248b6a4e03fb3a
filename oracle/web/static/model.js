// The model page: verification of the history, and applications for access.
import { $, el, page, say, size, t, chooseWallet } from "./page.js";
import { calldata } from "./encoding.js";
import { Mismatch, verify } from "./history.js";
import { join, part } from "./tally.js";
import { send, wallet } from "./wallet.js";

const section = $("verify"),
  button = $("verify-button"),
  result = $("verify-result");
const items = new Map(
  [...section.querySelectorAll("li[data-version]")].map((li) => [Number(li.dataset.version), li]),
);

button.hidden = items.size === 0;
button.nextElementSibling.hidden = items.size === 0;
button.addEventListener("click", async () => {
  button.disabled = true;
  say(result, t("verify.reading"));
  for (const li of items.values()) {
    li.querySelector(".checks").replaceChildren();
    li.classList.remove("good", "bad");
    part(li.querySelector(".stick"));
  }
  const note = (version, text, kind = "") =>
    items
      .get(version)
      ?.querySelector(".checks")
      .append(el("li", { class: kind }, text));
  const shown = new Map(
    [...items].map(([version, li]) => [
      version,
      { head: li.dataset.head, manifest: li.dataset.manifest },
    ]),
  );
  const files = $("verify-files").checked;
  try {
    const { count, bytes } = await verify(
      section.dataset.model,
      shown,
      files,
      note,
      (version, head) => {
        const li = items.get(version);
        if (!li) return;
        li.classList.add("good");
        join(li.querySelector(".stick"), head, true);
      },
    );
    say(
      result,
      t(files ? "verify.good" : "verify.goodRecords", { count, size: size(bytes) }),
      "good",
    );
  } catch (error) {
    if (error instanceof Mismatch) {
      const li = items.get(error.version);
      li?.classList.add("bad");
      if (li && error.computed) join(li.querySelector(".stick"), error.computed, false);
      note(error.version, error.message, "bad");
      say(result, t("verify.bad", { what: error.message }), "bad");
    } else say(result, error.message, "bad");
  } finally {
    button.disabled = false;
  }
});

const form = $("apply");
if (form) {
  const show = () => {
    form.hidden = !wallet().account;
    $("apply-hint").hidden = !form.hidden;
  };
  document.addEventListener("wallet", show);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const status = form.querySelector("[role=status]");
    try {
      if (!wallet().account) await chooseWallet();
      say(status, t("wallet.sent"));
      await send(
        page.network.access,
        calldata("submitApplication(uint256,string)", form.dataset.model, $("note").value),
        t,
      );
      say(status, t("wallet.done"), "good");
    } catch (error) {
      say(status, error.message, "bad");
    }
  });
}
