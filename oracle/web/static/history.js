// Recomputes a model's history from events and bytes; says everything that fits, throws at what does not.
import { page, size, t } from "./page.js";
import { checkedBlock, logs, rpc } from "./chain.js";
import { calldata, concat, keccakHex, sha256, topicOf, word, words, ZERO32 } from "./encoding.js";

const PUBLISHED = topicOf(
  "VersionPublished(uint256,uint32,address,bytes32,bytes32,bytes32,bytes32,uint8,uint64,uint40)",
);
const WEIGHTS = /\.(safetensors|pt2|onnx)$/;

/** The first thing that does not fit, its version, and the head that the bytes would make of it. */
export class Mismatch extends Error {
  constructor(version, message, computed = null) {
    super(message);
    this.version = version;
    this.computed = computed;
  }
}

function parse(log) {
  const [prev, head, manifest, root, assurance, tolerance, timestamp] = words(log.data);
  return {
    version: Number(log.topics[2]),
    publisher: "0x" + log.topics[3].slice(26),
    prev,
    head,
    manifest,
    root,
    assurance: Number(assurance),
    tolerance,
    timestamp,
  };
}

/** Return the head that a record's fields hash to. */
export function headOf(modelId, r) {
  const fields = [
    r.prev,
    modelId,
    r.version,
    r.manifest,
    r.root,
    r.assurance,
    r.tolerance,
    r.publisher,
    r.timestamp,
  ];
  return keccakHex(concat(...fields.map(word)));
}

/** Return the model root of a float version: SHA-256 of the canonical list of its weights. */
export async function weightsRoot(manifest) {
  const listed = manifest.files
    .filter((f) => WEIGHTS.test(f.path))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  return sha256(
    new TextEncoder().encode(JSON.stringify(listed.map((f) => [f.path, f.sha256, f.size]))),
  );
}

/**
 * Check a model's whole history.
 * shown: what this server displays, by version. report(version, text, kind): something was checked.
 * done(version, head): everything of a version fits. Returns { count, bytes }.
 */
export async function verify(modelId, shown, withFiles, report, done) {
  const registry = page.network.registry;
  const found = (
    await logs(registry, PUBLISHED, "0x" + BigInt(modelId).toString(16).padStart(64, "0"))
  ).map(parse);
  let head = ZERO32,
    bytes = 0;
  const seen = new Set();
  for (const [at, record] of found.entries()) {
    const number = at + 1;
    if (record.version !== number || record.prev !== head)
      throw new Mismatch(number, t("verify.linkBad", { version: number }));
    const computed = headOf(modelId, record);
    if (computed !== record.head)
      throw new Mismatch(number, t("verify.recordBad", { version: number }), computed);
    const display = shown.get(number);
    if (display && (display.head !== record.head || display.manifest !== record.manifest)) {
      throw new Mismatch(number, t("verify.shownBad", { version: number }), computed);
    }
    report(number, t("verify.record"));
    bytes += await checkBytes(modelId, record, withFiles, seen, report);
    done(number, computed);
    head = record.head;
  }
  if (found.length !== shown.size)
    throw new Mismatch(
      Math.min(found.length, shown.size) + 1,
      t("verify.countBad", { chain: found.length, shown: shown.size }),
    );
  const kept = await rpc(
    "eth_call",
    { to: registry, data: calldata("headOf(uint256)", modelId) },
    "latest",
  );
  if (kept !== head) throw new Mismatch(found.length, t("verify.headBad"));
  return { count: found.length, bytes };
}

async function checkBytes(modelId, record, withFiles, seen, report) {
  const { version } = record;
  const { bytes, found, fits } = await checkedBlock(record.manifest);
  if (bytes === null)
    throw new Mismatch(
      version,
      t("verify.missing", { what: `${t("verify.manifest")} (${version})` }),
    );
  if (!fits)
    throw new Mismatch(
      version,
      t("verify.manifestBad", { version }),
      headOf(modelId, { ...record, manifest: found }),
    );
  report(version, t("verify.manifest"));
  let total = bytes.length;
  const manifest = JSON.parse(new TextDecoder().decode(bytes));
  if (manifest.exact === null) {
    const root = await weightsRoot(manifest);
    if (root !== record.root)
      throw new Mismatch(
        version,
        t("verify.rootBad", { version }),
        headOf(modelId, { ...record, root }),
      );
    report(version, t("verify.root"));
  } else {
    report(version, t("verify.program"), "note");
  }
  for (const file of withFiles ? manifest.files : []) {
    if (seen.has(file.sha256)) continue;
    const path = file.path.split("/").map(encodeURIComponent).join("/");
    const place = page.network.gateway
      ? `${page.network.gateway}/ipfs/${file.cid}`
      : `/models/${modelId}/versions/${version}/files/${path}`;
    const answer = await fetch(place, { credentials: "omit" });
    const data = answer.ok ? new Uint8Array(await answer.arrayBuffer()) : null;
    if (data === null)
      throw new Mismatch(
        version,
        answer.status === 502
          ? t("verify.fileBad", { path: file.path, version })
          : t("verify.missing", { what: file.path }),
      );
    const sha = await sha256(data);
    if (data.length !== file.size || sha !== file.sha256) {
      const files = manifest.files.map((f) =>
        f === file ? { ...f, sha256: sha, size: data.length } : f,
      );
      throw new Mismatch(
        version,
        t("verify.fileBad", { path: file.path, version }),
        headOf(modelId, { ...record, root: await weightsRoot({ files }) }),
      );
    }
    report(version, `${file.path}, ${size(data.length)}`);
    seen.add(file.sha256);
    total += data.length;
  }
  return total;
}
