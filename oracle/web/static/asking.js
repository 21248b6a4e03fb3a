// A question that the visitor's own wallet pays: the order is encoded here, the wallet signs it.
import { api, page, t } from "./page.js";
import { requestCalldata, topicOf } from "./encoding.js";
import { send, wallet } from "./wallet.js";

const REQUESTED = topicOf(
  "Requested(bytes32,uint256,address,(uint256,uint256,uint256,bytes32,bytes32,bytes32,bytes32,uint256))",
);

/** Ask from the connected wallet; resolves to { request }. */
export async function askWithWallet(query, data) {
  query.set("requester", wallet().account);
  const { order } = await api(`/page/prepare?${query}`, { method: "POST", body: data });
  // What is signed is what the form says, whatever the server answered
  if (
    String(order.modelId) !== query.get("model") ||
    String(order.version) !== query.get("version")
  )
    throw new Error(t("verify.bad", { what: "order" }));
  const receipt = await send(page.network.market, requestCalldata(order), t);
  const log = receipt.logs.find((one) => one.topics[0] === REQUESTED);
  return { request: log.topics[1] };
}
