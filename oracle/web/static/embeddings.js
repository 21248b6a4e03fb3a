// Sentences on a map: the two directions in which they differ most, and who is next to whom.
import { el, svg, t } from "./page.js";
import { best, cosine, principal } from "./numbers.js";

function apart(spots) {
  // dots that would cover each other move a little
  for (let step = 0; step < 40; step++) {
    spots.forEach((a, i) =>
      spots.slice(i + 1).forEach((b) => {
        const [dx, dy] = [b[0] - a[0] || 0.01, b[1] - a[1]],
          gap = 24 - Math.hypot(dx, dy);
        if (gap <= 0) return;
        const [x, y] = [dx, dy].map((d) => (d * gap) / 2 / Math.hypot(dx, dy));
        a[0] -= x;
        a[1] -= y;
        b[0] += x;
        b[1] += y;
      }),
    );
  }
  return spots;
}

/** Draw the map of embeddings, and name every text's nearest. */
export function map(rows, texts) {
  const points = principal(rows),
    extent = Math.max(...points.flat().map(Math.abs)) || 1;
  const spots = apart(points.map(([x, y]) => [210 + (165 * x) / extent, 150 - (120 * y) / extent]));
  const near = rows
    .map((row, i) => rows.map((other, j) => (i === j ? -2 : cosine(row, other))))
    .map((c) => [best(c), Math.max(...c)]);
  const taken = spots.map(([x, y]) => [x - 11, y - 11, x + 11, y + 11]);
  const label = (i) => {
    // where there is room for it; the table below names every dot
    const [x, y] = spots[i],
      text = texts[i].length > 26 ? `${texts[i].slice(0, 25)}…` : texts[i],
      width = 6.4 * text.length;
    for (const [left, anchor] of [
      [x + 14, "start"],
      [x - 14 - width, "end"],
    ]) {
      const box = [left, y - 9, left + width, y + 9];
      if (
        left < 2 ||
        box[2] > 418 ||
        taken.some((o) => o[0] < box[2] && box[0] < o[2] && o[1] < box[3] && box[1] < o[3])
      )
        continue;
      taken.push(box);
      return [
        svg(
          "text",
          { x: anchor === "start" ? left : left + width, y: y + 4, "text-anchor": anchor },
          text,
        ),
      ];
    }
    return [];
  };
  const picture = svg(
    "svg",
    { class: "map", viewBox: "0 0 420 300", role: "img", "aria-label": t("try.map") },
    ...spots.map(([x1, y1], i) => {
      const [x2, y2] = spots[near[i][0]];
      return svg("line", { x1, y1, x2, y2 });
    }),
    ...spots.map(([cx, cy], i) => {
      return svg(
        "g",
        {},
        svg("title", {}, texts[i]),
        svg("circle", { cx, cy, r: 10 }),
        svg("text", { class: "dot", x: cx, y: cy + 4 }, String(i + 1)),
        ...label(i),
      );
    }),
  );
  const table = el(
    "table",
    {},
    el("caption", { class: "away" }, t("try.neighbours")),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ...[t("try.sentence"), t("try.nearest"), t("try.cosine")].map((text) =>
          el("th", { scope: "col" }, text),
        ),
      ),
    ),
    el(
      "tbody",
      {},
      ...texts.map((text, i) =>
        el(
          "tr",
          {},
          el("td", {}, `${i + 1} ${text}`),
          el("td", {}, texts[near[i][0]]),
          el("td", {}, near[i][1].toFixed(3)),
        ),
      ),
    ),
  );
  return el(
    "div",
    { class: "stack" },
    el("figure", { class: "plain" }, picture, el("figcaption", {}, el("small", {}, t("try.map")))),
    el("h3", {}, t("try.neighbours")),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": t("try.neighbours") },
      table,
    ),
  );
}
