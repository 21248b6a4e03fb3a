// Inputs as the model sees them and answers as people read them: pixels, bars, maps, tables.
import { el, svg, t } from "./page.js";
import { map } from "./embeddings.js";
import {
  best,
  extremes,
  isProbability,
  number,
  percent,
  probabilities,
  rowsOf,
} from "./numbers.js";

const SHOWN = 12; // rows or columns of a table
const REASONS = 3; // columns that are named as reasons

// ── Inputs ────────────────────────────────────────────────────────────────────────────────────
/** Show an input's tensors. */
export function showSeen(place, seen, form) {
  if (seen.messages) return showMessages(place, seen);
  const sentences = seen.texts.map((text) => el("li", {}, text));
  const parts = seen.tensors.map((tensor) => {
    const picture = form.kind === "image" ? pixels(tensor) : null;
    const shape = `${tensor.name}: ${tensor.dtype} ${tensor.shape.join("×")}`;
    if (picture)
      return el(
        "figure",
        { class: "plain" },
        picture,
        el(
          "figcaption",
          {},
          el(
            "small",
            {},
            `${shape}. ${t("try.grid", { rows: tensor.shape.at(-2), cols: tensor.shape.at(-1) })}`,
          ),
        ),
      );
    const note =
      seen.texts.length && tensor.name === "input_ids"
        ? ` (${t("try.tokens", { count: tensor.shape.at(-1) })})`
        : "";
    return el("div", {}, el("p", {}, el("small", {}, shape + note)), numbers(tensor));
  });
  const outside = (seen.outside || []).map((one) =>
    el("p", { class: "result bad" }, t("try.outside", one)),
  );
  place.replaceChildren(
    ...outside,
    ...(sentences.length ? [el("ol", { class: "moves" }, ...sentences)] : []),
    ...parts,
    el(
      "p",
      {},
      el("small", {}, t("try.digest", { digest: "" })),
      el("code", { class: "long" }, seen.digest),
    ),
  );
}

/** Show a chat, every word as text. */
function showMessages(place, { messages, digest }) {
  const turns = messages.map((one) =>
    el(
      "li",
      { class: one.role === "assistant" ? "assistant" : "user" },
      el("strong", {}, one.name ? `${one.role} (${one.name})` : one.role),
      el("p", { class: "words" }, one.content ?? JSON.stringify(one.tool_calls)),
    ),
  );
  place.replaceChildren(
    el("ol", { class: "talk", tabindex: "0" }, ...turns),
    el("p", {}, el("small", {}, t("try.digest", { digest: "" })), el("code", { class: "long" }, digest)),
  );
}

/** Show the passages that a text was written from, each with its source; all of it is text. */
export function passages(shown, content) {
  const named = content.matchAll(/\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]/g);
  const cited = new Set([...named].flatMap(([, group]) => group.split(",").map(Number)));
  return [
    el("h3", {}, t("passages.title")),
    el(
      "ol",
      { class: "passages" },
      ...shown.map((one, place) =>
        el(
          "li",
          { class: cited.has(place + 1) ? "cited" : "" },
          el("cite", {}, one.source),
          ...(cited.has(place + 1) ? [" ", el("strong", {}, t("passages.cited"))] : []),
          el("p", { class: "words" }, one.text),
        ),
      ),
    ),
    el("p", { class: "hint" }, t("passages.about")),
  ];
}

/** Draw the first image of a tensor, dark where its numbers are large; null if it is none. */
export function pixels(tensor, overlay = null) {
  const [height, width] = tensor.shape.slice(-2),
    values = tensor.values;
  if (!height || !width || tensor.shape.length < 2 || width * height > values.length) return null;
  const colours = tensor.shape.at(-3) === 3 ? 3 : 1,
    plane = width * height;
  const first = values.slice(0, plane * colours);
  const [low, high] = extremes(first),
    span = high - low || 1;
  const canvas = el("canvas", {
    class: "pixels",
    width,
    height,
    role: "img",
    "aria-label": t("try.grid", { rows: height, cols: width }),
  });
  const pen = canvas.getContext("2d"),
    image = pen.createImageData(width, height);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) {
      const share = (first[i + (colours === 3 ? c * plane : 0)] - low) / span;
      image.data[4 * i + c] = 255 * (colours === 3 ? share : 1 - share);
    }
    image.data[4 * i + 3] = 255;
    if (overlay) {
      // red where it mattered
      const heat = Math.max(0, overlay[i]);
      image.data[4 * i] = image.data[4 * i] * (1 - heat) + 190 * heat;
      image.data[4 * i + 1] *= 1 - heat;
      image.data[4 * i + 2] *= 1 - heat;
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

/** Show a tensor's first rows as a table. */
export function numbers(tensor) {
  const width = tensor.shape.at(-1) ?? 1,
    rows = Math.ceil(tensor.values.length / Math.max(1, width));
  const row = (r) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, String(r + 1)),
      ...tensor.values
        .slice(r * width, Math.min(r * width + SHOWN, (r + 1) * width))
        .map((v) => el("td", {}, number(v))),
      ...(width > SHOWN ? [el("td", {}, t("try.more", { count: width - SHOWN }))] : []),
    );
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": tensor.name },
    el(
      "table",
      { class: "numbers" },
      el("tbody", {}, ...Array.from({ length: Math.min(rows, SHOWN) }, (_, r) => row(r))),
    ),
    ...(rows > SHOWN ? [el("p", {}, el("small", {}, t("try.more", { count: rows - SHOWN })))] : []),
  );
}
// ── Answers ───────────────────────────────────────────────────────────────────────────────────
/** Show an answer: what kind it is follows from its labels and shape; several have names. */
export function showAnswer(place, answer, form, seen) {
  if (answer.text !== undefined) {
    const calls = answer.calls.map((one) => `${one.name}(${one.arguments})`);
    place.replaceChildren(
      ...[answer.text, ...calls].map((one) => el("p", { class: "words" }, one)),
      ...(seen?.passages?.length ? passages(seen.passages, answer.text) : []),
    );
    return;
  }
  const told = reasonsOf(answer, form);
  if (told) {
    place.replaceChildren(recommendations(...told, answer.labels, form.features));
    return;
  }
  const shown = (output) => {
    const rows = rowsOf(output);
    if (answer.labels && rows.length && rows[0].length === answer.labels.length)
      return classes(rows, answer.labels);
    if (seen.texts.length > 1 && rows.length === seen.texts.length) return map(rows, seen.texts);
    return numbers(output);
  };
  place.replaceChildren(
    ...answer.outputs.flatMap((output) =>
      answer.outputs.length > 1
        ? [el("h3", {}, el("code", {}, output.name)), shown(output)]
        : [shown(output)],
    ),
  );
}

/** Return scores, and what each column did to each of them, if an answer says that. */
function reasonsOf({ outputs }, { features }) {
  const reasons = outputs.find(({ name }) => name === "reasons"),
    scores = outputs.find(({ name }) => name !== "reasons");
  if (!reasons?.complete || scores?.shape.length !== 2) return null;
  const wanted = [scores.shape[0], features.length, scores.shape[1]];
  return String(reasons.shape) === String(wanted) ? [scores, reasons] : null;
}

/** Show the best scores of each row with the columns that did most: what occlusion says. */
function recommendations(scores, reasons, labels, columns) {
  const width = scores.shape.at(-1);
  const because = (row, i) =>
    columns
      .map((name, c) => [name, reasons.values[(row * columns.length + c) * width + i]])
      .filter(([, effect]) => effect)
      .sort(([, a], [, b]) => Math.abs(b) - Math.abs(a))
      .slice(0, REASONS)
      .map(([name, effect]) => `${name} ${effect > 0 ? "+" : "−"}${number(Math.abs(effect))}`)
      .join(", ");
  const lines = rowsOf(scores).flatMap((row, r) => {
    const order = row.map((_, i) => i).sort((a, b) => row[b] - row[a]);
    return order.slice(0, SHOWN).map((i) => [
      ...(scores.shape[0] > 1 ? [String(r + 1)] : []),
      labels?.length === width ? labels[i] : `${scores.name}${width > 1 ? ` ${i + 1}` : ""}`,
      number(row[i]),
      because(r, i),
    ]);
  });
  const heads = [
    ...(scores.shape[0] > 1 ? ["try.row"] : []),
    "batch.answer",
    "try.score",
    "try.because",
  ];
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": t("try.because") },
    el(
      "table",
      { class: "recommended" },
      el("thead", {}, el("tr", {}, ...heads.map((key) => el("th", { scope: "col" }, t(key))))),
      el(
        "tbody",
        {},
        ...lines.map((line) => el("tr", {}, ...line.map((cell) => el("td", {}, cell)))),
      ),
    ),
    el("p", {}, el("small", {}, t("try.because.about"))),
  );
}

function classes(rows, labels) {
  if (rows.length === 1) {
    const shares = probabilities(rows[0]);
    return el(
      "div",
      { class: "pair" },
      el("p", { class: "verdict" }, labels[best(shares)]),
      bars(shares, labels, isProbability(rows[0])),
    );
  }
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": t("try.probabilities") },
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ...[t("try.row"), t("batch.answer"), ""].map((text) => el("th", { scope: "col" }, text)),
        ),
      ),
      el(
        "tbody",
        {},
        ...rows.map((row, r) => {
          const shares = probabilities(row),
            at = best(shares);
          return el(
            "tr",
            {},
            el("th", { scope: "row" }, String(r + 1)),
            el("td", {}, labels[at]),
            el("td", {}, percent(shares[at])),
          );
        }),
      ),
    ),
  );
}

/** Draw class probabilities, the largest twelve of many. */
export function bars(shares, labels, given) {
  const order = shares.map((_, i) => i),
    many = shares.length > SHOWN;
  if (many) order.sort((a, b) => shares[b] - shares[a]).splice(SHOWN);
  const top = best(shares),
    line = 24,
    left = many || labels.some((l) => l.length > 3) ? 130 : 36;
  const title = t(given ? "try.scores" : "try.probabilities");
  const picture = svg("svg", {
    class: "bars",
    viewBox: `0 0 420 ${order.length * line + 4}`,
    role: "img",
    "aria-label": `${title}: ${order.map((i) => `${labels[i]} ${percent(shares[i])}`).join(", ")}`,
  });
  order.forEach((i, at) => {
    const y = at * line,
      room = 420 - left - 70;
    picture.append(
      svg(
        "text",
        { x: left - 8, y: y + 17, "text-anchor": "end" },
        labels[i].length > 18 ? `${labels[i].slice(0, 17)}…` : labels[i],
      ),
      svg("rect", { class: "rail", x: left, y: y + 5, width: room, height: 15, rx: 2 }),
      svg("rect", {
        class: i === top ? "best" : "bar",
        x: left,
        y: y + 5,
        width: Math.max(1, room * shares[i]),
        height: 15,
        rx: 2,
      }),
      svg("text", { class: "value", x: left + room + 8, y: y + 17 }, percent(shares[i])),
    );
  });
  return el("figure", { class: "plain" }, picture, el("figcaption", {}, el("small", {}, title)));
}
