// Several files: one paid question each, four at a time, results in a table and as a download.
import { $, el, short, t } from "./page.js";
import { best, number, percent, probabilities, rowsOf } from "./numbers.js";

const TOGETHER = 4;

/** Ask about every sample; the table and the progress bar tell how it goes. */
export async function runBatch(samples, payer, { ask, answered, proof }) {
  const body = $("batch-table").tBodies[0],
    progress = $("batch-progress"),
    results = [];
  $("batch").hidden = false;
  $("batch-download").replaceChildren();
  body.replaceChildren();
  progress.max = samples.length;
  progress.value = 0;
  const rows = samples.map((sample) => {
    const row = el(
      "tr",
      {},
      el("td", {}, sample.name),
      el("td", {}, ""),
      el("td", {}, t("batch.waits")),
    );
    body.append(row);
    return row;
  });
  let next = 0;
  const count = () => {
    $("batch-count").textContent = t("batch.count", { done: progress.value, all: samples.length });
  };
  count();
  const worker = async () => {
    while (next < samples.length) {
      const at = next++;
      const [, shown, state] = rows[at].cells;
      try {
        const { request } = await ask(samples[at], payer);
        const link = proof(request);
        link.textContent = `${t("batch.asked")} ${short(request, 4)}`;
        state.replaceChildren(link);
        const answer = await answered(request);
        shown.textContent = summary(answer);
        state.firstChild.textContent = `${t("batch.answered")} ${short(request, 4)}`;
        results[at] = {
          file: samples[at].name,
          answer: summary(answer),
          request,
          root: answer.root,
          outputs: answer.outputs,
        };
      } catch (error) {
        state.textContent = t("batch.failed", { why: error.message });
        results[at] = { file: samples[at].name, error: error.message };
      }
      progress.value += 1;
      count();
    }
  };
  await Promise.all(Array.from({ length: payer === "sponsor" ? TOGETHER : 1 }, worker)); // others pay one by one
  const table = [
    ["file", "answer", "request", "root", "error"],
    ...results.map((r) => [r.file, r.answer, r.request, r.root, r.error]),
  ];
  $("batch-download").replaceChildren(
    download(
      "CSV",
      "answers.csv",
      "text/csv",
      table.map((row) => row.map(cell).join(",")).join("\n") + "\n",
    ),
    download("JSON", "answers.json", "application/json", JSON.stringify(results, null, 1)),
  );
}

function summary({ outputs, labels }) {
  const [first] = outputs,
    rows = rowsOf(first);
  if (labels && rows[0]?.length === labels.length)
    return rows
      .map((row) => {
        const shares = probabilities(row),
          at = best(shares);
        return `${labels[at]} (${percent(shares[at])})`;
      })
      .join("; ");
  return first.values.slice(0, 4).map(number).join(", ") + (first.values.length > 4 ? " …" : "");
}

/** Return a cell of CSV that no spreadsheet takes for a formula. */
export function cell(value) {
  // a leading = + - @ would be a formula to a spreadsheet
  const text = String(value ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

const download = (kind, name, type, text) =>
  el(
    "a",
    { class: "button", download: name, href: URL.createObjectURL(new Blob([text], { type })) },
    t("try.download", { kind }),
  );
