// Reads the chain without this server: through the visitor's wallet, or the node that the page names.
import { page, t } from "./page.js";
import { rawCid, sha256 } from "./encoding.js";
import { wallet } from "./wallet.js";

/** Ask a node; the wallet's own is preferred, since this server had no say in it. */
export async function rpc(method, ...params) {
  const { provider } = wallet();
  if (provider) return provider.request({ method, params });
  if (!page.network.rpc) throw new Error(t("verify.noChain"));
  const answer = await fetch(page.network.rpc, {
    method: "POST",
    credentials: "omit",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const body = await answer.json();
  if (body.error) throw new Error(body.error.message);
  return body.result;
}

export const logs = (address, ...topics) =>
  rpc("eth_getLogs", {
    address,
    topics,
    fromBlock: "0x" + page.network.deployedAt.toString(16),
    toBlock: "latest",
  });

/** Return the bytes of a raw block; null when nobody has them. Whoever calls hashes them. */
export async function block(digest) {
  const answer = await fetch(`${page.network.gateway}/ipfs/${rawCid(digest)}`, {
    credentials: "omit",
  });
  return answer.ok ? new Uint8Array(await answer.arrayBuffer()) : null;
}

/** Return a raw block's bytes, what they hash to, and whether that is the digest asked for. */
export async function checkedBlock(digest) {
  const bytes = await block(digest);
  const found = bytes === null ? null : await sha256(bytes);
  return { bytes, found, fits: found === digest };
}
