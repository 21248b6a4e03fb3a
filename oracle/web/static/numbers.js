// Arithmetic on answers: rows, probabilities, angles, the map of embeddings. Touches no page.

/** Return the least and the greatest of many numbers. */
export function extremes(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

export const number = (value) =>
  Number.isInteger(value) ? String(value) : Number(value).toPrecision(4);
export const percent = (share) => `${(100 * share).toFixed(1)} %`;

export function rowsOf({ shape, values }) {
  const width = shape.at(-1) ?? 1;
  return Array.from({ length: Math.floor(values.length / width) }, (_, r) =>
    values.slice(r * width, (r + 1) * width),
  );
}

export const isProbability = (row) =>
  row.every((v) => v >= 0) && Math.abs(row.reduce((a, b) => a + b, 0) - 1) < 1e-3;

export function softmax(row) {
  const top = Math.max(...row),
    powers = row.map((v) => Math.exp(v - top)),
    sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / sum);
}

export const probabilities = (row) => (isProbability(row) ? row : softmax(row));
export const best = (row) => row.indexOf(Math.max(...row));

/** Return the coordinates of rows along the two directions in which they differ most. */
export function principal(rows) {
  const width = rows[0].length,
    mean = Array.from(
      { length: width },
      (_, i) => rows.reduce((s, r) => s + r[i], 0) / rows.length,
    );
  let left = rows.map((row) => row.map((v, i) => v - mean[i]));
  const axes = [0, 1].map((axis) => {
    let gram = left.map((a) => left.map((b) => a.reduce((s, v, i) => s + v * b[i], 0))); // n × n: few rows, many columns
    let v = rows.map((_, i) => Math.cos(i + axis + 1));
    for (let step = 0; step < 200; step++) {
      const next = gram.map((g) => g.reduce((s, x, i) => s + x * v[i], 0)),
        length = Math.hypot(...next);
      if (length < 1e-12) return rows.map(() => 0);
      v = next.map((x) => x / length);
    }
    const spread = Math.sqrt(
      Math.max(
        0,
        v.reduce((s, x, i) => s + x * gram[i].reduce((q, g, j) => q + g * v[j], 0), 0),
      ),
    );
    const direction = Array.from(
      { length: width },
      (_, i) => left.reduce((s, row, r) => s + v[r] * row[i], 0) / (spread || 1),
    );
    left = left.map((row, r) => row.map((x, i) => x - v[r] * spread * direction[i]));
    return v.map((x) => x * spread);
  });
  return rows.map((_, i) => [axes[0][i], axes[1][i]]);
}

export function cosine(a, b) {
  const dot = a.reduce((s, v, i) => s + v * b[i], 0);
  return dot / (Math.hypot(...a) * Math.hypot(...b) || 1);
}

/** Read dollars as the token's units, of which a dollar has a million; without floats. */
export function units(text) {
  const [, whole, fraction = ""] = /^(\d{1,13})(?:\.(\d{1,6}))?$/.exec(text.trim()) ?? [];
  if (whole === undefined) throw new Error(text);
  return BigInt(whole) * 1000000n + BigInt(fraction.padEnd(6, "0"));
}

/** Write the token's units as dollars. */
export function dollars(amount) {
  const [whole, rest] = [BigInt(amount) / 1000000n, BigInt(amount) % 1000000n];
  return `$${whole}.${String(rest)
    .padStart(6, "0")
    .replace(/0{1,4}$/, "")}`;
}
