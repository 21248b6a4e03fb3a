// Attribution by occlusion: the same picture with one part covered, many times, in one paid question.
import { $, el, say, t } from "./page.js";
import { best, extremes, probabilities, rowsOf } from "./numbers.js";
import { pixels } from "./show.js";

const PARTS = 8; // covered squares along each side, at most
const ROOM = 200_000; // numbers in one question: an input has at most 1 MiB

/** Offer the map of an image's important parts, where one question can hold all copies. */
export function occlusion(place, seen, answer, payer, { ask, answered, proof, form }) {
  const [tensor] = seen.tensors,
    parts = Math.min(PARTS, Math.floor(Math.sqrt(ROOM / tensor.values.length)));
  place.hidden = !(
    form.kind === "image" &&
    form.batched &&
    answer.labels &&
    seen.tensors.length === 1 &&
    tensor.shape[0] === 1 &&
    tensor.complete &&
    parts > 1
  );
  if (place.hidden) return;
  const [height, width] = tensor.shape.slice(-2),
    step = Math.max(1, Math.ceil(Math.max(height, width) / parts));
  const patches = [];
  for (let y = 0; y < height; y += step) for (let x = 0; x < width; x += step) patches.push([y, x]);
  const fee = `$${(form.fee / 1e6).toFixed(2)}`;
  place.replaceChildren(
    el(
      "button",
      {
        type: "button",
        class: "quiet",
        onclick: async (event) => {
          event.target.disabled = true;
          try {
            const [base] = extremes(tensor.values); // what nothing looks like
            const copies = patches.map(([y, x]) =>
              nest(cover(tensor, y, x, step, base), tensor.shape.slice(1)),
            );
            const { request } = await ask(
              { name: "covered.json", data: JSON.stringify({ [tensor.name]: copies }) },
              payer,
            );
            const shares = rowsOf((await answered(request)).outputs[0]).map(probabilities);
            const whole = probabilities(rowsOf(answer.outputs[0])[0]),
              at = best(whole);
            const lost = shares.map((row) => Math.max(0, whole[at] - row[at])),
              most = Math.max(...lost) || 1;
            const heat = Array(height * width).fill(0);
            patches.forEach(([y, x], p) =>
              each(y, x, step, height, width, (i) => {
                heat[i] = (0.85 * lost[p]) / most;
              }),
            );
            place.replaceChildren(
              el(
                "figure",
                { class: "plain" },
                pixels(tensor, heat),
                el(
                  "figcaption",
                  {},
                  el(
                    "small",
                    {},
                    t("try.occlusionShown", { label: answer.labels[at], count: patches.length }),
                    " ",
                    proof(request),
                  ),
                ),
              ),
            );
          } catch (error) {
            say($("said"), error.message, "bad");
            event.target.disabled = false;
          }
        },
      },
      t("try.occlusion", { fee, count: patches.length }),
    ),
  );
}

function each(y, x, step, height, width, act) {
  for (let r = y; r < Math.min(y + step, height); r++)
    for (let c = x; c < Math.min(x + step, width); c++) act(r * width + c);
}

function cover(tensor, y, x, step, base) {
  const [height, width] = tensor.shape.slice(-2),
    values = [...tensor.values];
  for (let plane = 0; plane < values.length; plane += height * width)
    each(y, x, step, height, width, (i) => {
      values[plane + i] = base;
    });
  return values;
}

function nest(values, [n, ...rest]) {
  if (!rest.length) return values;
  const size = values.length / n;
  return Array.from({ length: n }, (_, i) => nest(values.slice(i * size, (i + 1) * size), rest));
}
