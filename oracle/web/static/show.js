// Inputs as the model sees them and answers as people read them: pixels, bars, maps, tables.
import { el, svg, t } from "./page.js";

const SHOWN = 12; // rows or columns of a table

// ── Inputs ────────────────────────────────────────────────────────────────────────────────────
/** Show an input's tensors. */
export function showSeen(place, seen, form) {
  const parts = seen.tensors.map((tensor) => {
    const picture = form.kind === "image" ? pixels(tensor) : null;
    const shape = `${tensor.name}: ${tensor.dtype} ${tensor.shape.join("×")}`;
    if (picture) return el("figure", { class: "plain" }, picture, el("figcaption", {}, el("small", {}, `${shape}. ${t("try.grid", { rows: tensor.shape.at(-2), cols: tensor.shape.at(-1) })}`)));
    const note = seen.texts.length && tensor.name === "input_ids" ? ` (${t("try.tokens", { count: tensor.shape.at(-1) })})` : "";
    return el("div", {}, el("p", {}, el("small", {}, shape + note)), numbers(tensor));
  });
  place.replaceChildren(...parts, el("p", {}, el("small", {}, t("try.digest", { digest: "" })), el("code", { class: "long" }, seen.digest)));
}

/** Draw the first image of a tensor, dark where its numbers are large; null if it is none. */
export function pixels(tensor, overlay = null) {
  const [height, width] = tensor.shape.slice(-2), values = tensor.values;
  if (!height || !width || tensor.shape.length < 2 || width * height > values.length) return null;
  const colours = tensor.shape.at(-3) === 3 ? 3 : 1, plane = width * height;
  const first = values.slice(0, plane * colours);
  const low = Math.min(...first), span = Math.max(...first) - low || 1;
  const canvas = el("canvas", { class: "pixels", width, height, role: "img", "aria-label": t("try.grid", { rows: height, cols: width }) });
  const pen = canvas.getContext("2d"), image = pen.createImageData(width, height);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) {
      const share = (first[i + (colours === 3 ? c * plane : 0)] - low) / span;
      image.data[4 * i + c] = 255 * (colours === 3 ? share : 1 - share);
    }
    image.data[4 * i + 3] = 255;
    if (overlay) { // red where it mattered
      const heat = Math.max(0, overlay[i]);
      image.data[4 * i] = image.data[4 * i] * (1 - heat) + 190 * heat;
      image.data[4 * i + 1] *= 1 - heat; image.data[4 * i + 2] *= 1 - heat;
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

/** Show a tensor's first rows as a table. */
export function numbers(tensor) {
  const width = tensor.shape.at(-1) ?? 1, rows = Math.ceil(tensor.values.length / Math.max(1, width));
  const row = (r) => el("tr", {}, el("th", { scope: "row" }, String(r + 1)),
    ...tensor.values.slice(r * width, Math.min(r * width + SHOWN, (r + 1) * width)).map((v) => el("td", {}, number(v))),
    ...(width > SHOWN ? [el("td", {}, t("try.more", { count: width - SHOWN }))] : []));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": tensor.name },
    el("table", { class: "numbers" }, el("tbody", {}, ...Array.from({ length: Math.min(rows, SHOWN) }, (_, r) => row(r)))),
    ...(rows > SHOWN ? [el("p", {}, el("small", {}, t("try.more", { count: rows - SHOWN })))] : []));
}

export const number = (value) => (Number.isInteger(value) ? String(value) : Number(value).toPrecision(4));

// ── Answers ───────────────────────────────────────────────────────────────────────────────────
/** Show an answer: what kind it is follows from its labels and shape. */
export function showAnswer(place, answer, form, seen) {
  place.replaceChildren(...answer.outputs.map((output) => {
    const rows = rowsOf(output);
    if (answer.labels && rows.length && rows[0].length === answer.labels.length) return classes(rows, answer.labels);
    if (seen.texts.length > 1 && rows.length === seen.texts.length) return map(rows, seen.texts);
    return numbers(output);
  }));
}

export function rowsOf({ shape, values }) {
  const width = shape.at(-1) ?? 1;
  return Array.from({ length: Math.floor(values.length / width) }, (_, r) => values.slice(r * width, (r + 1) * width));
}

export const isProbability = (row) => row.every((v) => v >= 0) && Math.abs(row.reduce((a, b) => a + b, 0) - 1) < 1e-3;

export function softmax(row) {
  const top = Math.max(...row), powers = row.map((v) => Math.exp(v - top)), sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / sum);
}

export const probabilities = (row) => (isProbability(row) ? row : softmax(row));
export const best = (row) => row.indexOf(Math.max(...row));

function classes(rows, labels) {
  if (rows.length === 1) {
    const shares = probabilities(rows[0]);
    return el("div", { class: "pair" }, el("p", { class: "verdict" }, labels[best(shares)]), bars(shares, labels, isProbability(rows[0])));
  }
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("try.probabilities") }, el("table", {},
    el("thead", {}, el("tr", {}, ...[t("try.row"), t("batch.answer"), ""].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...rows.map((row, r) => { const shares = probabilities(row), at = best(shares); return el("tr", {}, el("th", { scope: "row" }, String(r + 1)), el("td", {}, labels[at]), el("td", {}, percent(shares[at]))); }))));
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** Draw class probabilities, the largest twelve of many. */
export function bars(shares, labels, given) {
  const order = shares.map((_, i) => i), many = shares.length > SHOWN;
  if (many) order.sort((a, b) => shares[b] - shares[a]).splice(SHOWN);
  const top = best(shares), line = 24, left = many || labels.some((l) => l.length > 3) ? 130 : 36;
  const title = t(given ? "try.scores" : "try.probabilities");
  const picture = svg("svg", { class: "bars", viewBox: `0 0 420 ${order.length * line + 4}`, role: "img", "aria-label": `${title}: ${order.map((i) => `${labels[i]} ${percent(shares[i])}`).join(", ")}` });
  order.forEach((i, at) => {
    const y = at * line, room = 420 - left - 70;
    picture.append(
      svg("text", { x: left - 8, y: y + 17, "text-anchor": "end" }, labels[i].length > 18 ? `${labels[i].slice(0, 17)}…` : labels[i]),
      svg("rect", { class: "rail", x: left, y: y + 5, width: room, height: 15, rx: 2 }),
      svg("rect", { class: i === top ? "best" : "bar", x: left, y: y + 5, width: Math.max(1, room * shares[i]), height: 15, rx: 2 }),
      svg("text", { class: "value", x: left + room + 8, y: y + 17 }, percent(shares[i])));
  });
  return el("figure", { class: "plain" }, picture, el("figcaption", {}, el("small", {}, title)));
}

// ── Embeddings ────────────────────────────────────────────────────────────────────────────────
/** Return the coordinates of rows along the two directions in which they differ most. */
export function principal(rows) {
  const width = rows[0].length, mean = Array.from({ length: width }, (_, i) => rows.reduce((s, r) => s + r[i], 0) / rows.length);
  let left = rows.map((row) => row.map((v, i) => v - mean[i]));
  const axes = [0, 1].map((axis) => {
    let gram = left.map((a) => left.map((b) => a.reduce((s, v, i) => s + v * b[i], 0))); // n × n: few rows, many columns
    let v = rows.map((_, i) => Math.cos(i + axis + 1));
    for (let step = 0; step < 200; step++) {
      const next = gram.map((g) => g.reduce((s, x, i) => s + x * v[i], 0)), length = Math.hypot(...next);
      if (length < 1e-12) return rows.map(() => 0);
      v = next.map((x) => x / length);
    }
    const spread = Math.sqrt(Math.max(0, v.reduce((s, x, i) => s + x * gram[i].reduce((q, g, j) => q + g * v[j], 0), 0)));
    const direction = Array.from({ length: width }, (_, i) => left.reduce((s, row, r) => s + v[r] * row[i], 0) / (spread || 1));
    left = left.map((row, r) => row.map((x, i) => x - v[r] * spread * direction[i]));
    return v.map((x) => x * spread);
  });
  return rows.map((_, i) => [axes[0][i], axes[1][i]]);
}

export function cosine(a, b) {
  const dot = a.reduce((s, v, i) => s + v * b[i], 0);
  return dot / (Math.hypot(...a) * Math.hypot(...b) || 1);
}

function apart(spots) { // dots that would cover each other move a little
  for (let step = 0; step < 40; step++) {
    spots.forEach((a, i) => spots.slice(i + 1).forEach((b) => {
      const [dx, dy] = [b[0] - a[0] || 0.01, b[1] - a[1]], gap = 24 - Math.hypot(dx, dy);
      if (gap <= 0) return;
      const [x, y] = [dx, dy].map((d) => d * gap / 2 / Math.hypot(dx, dy));
      a[0] -= x; a[1] -= y; b[0] += x; b[1] += y;
    }));
  }
  return spots;
}

function map(rows, texts) {
  const points = principal(rows), extent = Math.max(...points.flat().map(Math.abs)) || 1;
  const spots = apart(points.map(([x, y]) => [210 + 165 * x / extent, 150 - 120 * y / extent]));
  const near = rows.map((row, i) => rows.map((other, j) => (i === j ? -2 : cosine(row, other)))).map((c) => [best(c), Math.max(...c)]);
  const taken = spots.map(([x, y]) => [x - 11, y - 11, x + 11, y + 11]);
  const label = (i) => { // where there is room for it; the table below names every dot
    const [x, y] = spots[i], text = texts[i].length > 26 ? `${texts[i].slice(0, 25)}…` : texts[i], width = 6.4 * text.length;
    for (const [left, anchor] of [[x + 14, "start"], [x - 14 - width, "end"]]) {
      const box = [left, y - 9, left + width, y + 9];
      if (left < 2 || box[2] > 418 || taken.some((o) => o[0] < box[2] && box[0] < o[2] && o[1] < box[3] && box[1] < o[3])) continue;
      taken.push(box);
      return [svg("text", { x: anchor === "start" ? left : left + width, y: y + 4, "text-anchor": anchor }, text)];
    }
    return [];
  };
  const picture = svg("svg", { class: "map", viewBox: "0 0 420 300", role: "img", "aria-label": t("try.map") },
    ...spots.map(([x1, y1], i) => { const [x2, y2] = spots[near[i][0]]; return svg("line", { x1, y1, x2, y2 }); }),
    ...spots.map(([cx, cy], i) => { return svg("g", {}, svg("title", {}, texts[i]), svg("circle", { cx, cy, r: 10 }), svg("text", { class: "dot", x: cx, y: cy + 4 }, String(i + 1)), ...label(i)); }));
  const table = el("table", {}, el("caption", { class: "away" }, t("try.neighbours")),
    el("thead", {}, el("tr", {}, ...[t("try.sentence"), t("try.nearest"), t("try.cosine")].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...texts.map((text, i) => el("tr", {}, el("td", {}, `${i + 1} ${text}`), el("td", {}, texts[near[i][0]]), el("td", {}, near[i][1].toFixed(3))))));
  return el("div", { class: "stack" }, el("figure", { class: "plain" }, picture, el("figcaption", {}, el("small", {}, t("try.map")))), el("h3", {}, t("try.neighbours")), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("try.neighbours") }, table));
}
