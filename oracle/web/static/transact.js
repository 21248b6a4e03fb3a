// Forms whose act the visitor's wallet signs: files first, then one transaction after the other.
import { number } from "./numbers.js";
import { api, chooseWallet, el, page, say, size, t } from "./page.js";
import { personalSign, send, wallet } from "./wallet.js";

/** The deposit whose API key this browser was not shown yet, or ""; it may be told to keep nothing. */
function unkeyed(deposit) {
  try {
    if (deposit !== undefined) localStorage.setItem("tallystick.deposit", deposit);
    return localStorage.getItem("tallystick.deposit") ?? "";
  } catch {
    return "";
  }
}

/** Do an act to its end; resolves to its last receipt, null when nothing was left to send. */
async function act(name, values, tell, sent) {
  let receipt = null;
  for (;;) {
    const query = new URLSearchParams({ ...values, account: wallet().account });
    tell(t("act.asking"));
    const next = await api(`/page/transactions/${name}?${query}`, { method: "POST" });
    if (!next.data) return receipt;
    // Whatever the server answers, only contracts of this network are called
    if (!page.network.contracts.includes(next.to))
      throw new Error(t("verify.bad", { what: next.to }));
    tell(t("act.sign", { what: next.label }));
    receipt = await send(next.to, next.data, t, next.value, next.last ? sent : undefined);
    if (next.last) return receipt;
  }
}

/** Send files under one name that only this page knows; a folder's own name is left out. */
async function upload(files, tell) {
  const draft = crypto.randomUUID().replaceAll("-", "");
  for (const file of files) {
    const path = file.webkitRelativePath.replace(/^[^/]*[/]/, "") || file.name;
    tell(t("act.upload", { file: path }));
    await api(`/page/drafts/${draft}/${path}`, { method: "PUT", body: file });
  }
  return draft;
}

/** Ask for the key of a deposit; `replacing` names the secret that it has already. */
async function key(transaction, tell, replacing = "") {
  const message = `Tallystick: an API key of ${page.network.sponsor} for my deposit ${transaction}`;
  tell(t(replacing ? "act.key.again" : "act.key"));
  const signature = await personalSign(message + (replacing && `, in place of ${replacing}`));
  const path = `/page/keys?${new URLSearchParams({ transaction, signature, replacing })}`;
  for (;;) {
    try {
      const made = await api(path, { method: "POST" });
      if (made.exists) return await key(transaction, tell, made.exists);
      unkeyed("");
      return made;
    } catch (error) {
      if (error.title !== "DepositNotFinal") throw error;
      tell(error.message);
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

function showCheck(place, found) {
  const tensor = (one) =>
    `${one.name} ${one.dtype} ${one.shape.join("×")}: ${one.first.map(number).join(", ")}`;
  const facts = [
    ["check.model", `${found.name}, ${found.format}`],
    ...found.inputs.map((one) => ["check.input", tensor(one)]),
    ...found.outputs.map((one) => ["check.output", tensor(one)]),
    ["check.time", `${(1000 * found.runs[0].seconds).toFixed(1)} ms`],
    ["check.memory", size(found.memory)],
    ["check.spread", (found.spread / 1e9).toPrecision(3)],
  ];
  const { holder } = found;
  if (holder && holder.owner.toLowerCase() !== wallet().account?.toLowerCase())
    facts.push(["check.namesake", `${holder.model_id}, ${holder.owner}`]);
  place.replaceChildren(
    ...facts.map(([key, text]) =>
      el("div", {}, el("dt", {}, t(key)), el("dd", {}, el("code", {}, text))),
    ),
  );
}

for (const field of document.querySelectorAll("form[data-key] [name=transaction]")) {
  field.value = unkeyed();
  field.closest("details").open = Boolean(field.value);
}
for (const form of document.querySelectorAll("form[data-act]")) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const status = form.querySelector("[role=status]"),
      button = form.querySelector("button"),
      tell = (text) => say(status, text);
    button.disabled = true;
    try {
      if (!wallet().account && !(await chooseWallet())) return;
      const values = Object.fromEntries(
        [...new FormData(form)].filter(([, value]) => typeof value === "string"),
      );
      const chosen = form.querySelector("input[type=file]")?.files;
      if (chosen?.length) values.draft = await upload(chosen, tell);
      if (form.dataset.act === "publish") {
        tell(t("act.check"));
        const path = `/page/drafts/${values.draft}/check?${new URLSearchParams({ name: values.name })}`;
        showCheck(form.querySelector(".checked"), await api(path, { method: "POST" }));
      }
      const receipt = values.transaction
        ? { transactionHash: values.transaction.trim() }
        : await act(form.dataset.act, values, tell, (hash) => {
            if ("key" in form.dataset) unkeyed(hash);
          });
      const made =
        "key" in form.dataset && receipt ? await key(receipt.transactionHash, tell) : null;
      say(status, t(receipt ? "wallet.done" : "act.nothing"), "good");
      if (made) status.append(" ", el("code", { class: "long" }, made.key), ` (${made.budget})`);
      if (form.dataset.then)
        status.append(" ", el("a", { href: form.dataset.then }, t("act.then")));
    } catch (error) {
      say(status, error.message, "bad");
    } finally {
      button.disabled = false;
    }
  });
}
