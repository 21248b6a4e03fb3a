// What this browser keeps of the visitor's channels: keys, receipts, and the bytes behind them.
// IndexedDB of this page's origin: no other site reads it, whoever uses this browser does.

const opened = new Promise((resolve, reject) => {
  const asked = indexedDB.open("tallystick", 1);
  asked.onupgradeneeded = () => {
    asked.result.createObjectStore("channels", { keyPath: "id" });
    asked.result.createObjectStore("receipts", { keyPath: ["channel", "index"] });
  };
  asked.onsuccess = () => resolve(asked.result);
  asked.onerror = () => reject(asked.error);
});
opened.catch(() => {}); // whoever waits for it is told

/** Run one transaction; resolves when it is on disk, to what its request found. */
async function transaction(mode, stores, act) {
  const database = await opened;
  return new Promise((resolve, reject) => {
    const begun = database.transaction(stores, mode, { durability: "strict" });
    const asked = act(...stores.map((name) => begun.objectStore(name)));
    begun.oncomplete = () => resolve(asked.result);
    begun.onabort = begun.onerror = () => reject(begun.error);
  });
}

/** Return the channels on a chain's contract, those made last at the end. */
export async function channelsOf(chainId, contract) {
  const every = await transaction("readonly", ["channels"], (channels) => channels.getAll());
  return every
    .filter((one) => one.chainId === chainId && one.channels === contract)
    .sort((a, b) => a.madeAt - b.madeAt);
}

export const channelOf = (id) =>
  transaction("readonly", ["channels"], (channels) => channels.get(id));

export const keep = (channel) =>
  transaction("readwrite", ["channels"], (channels) => channels.put(channel));

export const forget = (id) =>
  transaction("readwrite", ["channels"], (channels) => channels.delete(id));

/** Keep a channel together with a receipt of it; `bytes` are { input, output } where they are here. */
export const keepReceipt = (channel, receipt, bytes = {}) =>
  transaction("readwrite", ["channels", "receipts"], (channels, receipts) => {
    receipts.put({ channel: channel.id, index: receipt.index, receipt, ...bytes });
    return channels.put(channel);
  });

/** Return the kept receipts of a channel by their index. */
export const receiptsOf = (id) =>
  transaction("readonly", ["receipts"], (receipts) =>
    receipts.getAll(IDBKeyRange.bound([id, 0], [id, Infinity])),
  );

const base64 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000)
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
};

/** Return a kept receipt as the file that `tallystick verify` reads. */
export function fileOf(channel, { receipt, input, output }) {
  const { chainId, market, game, channels, payer, signer, offer } = channel;
  return {
    schema: "tallystick/receipt/1",
    chainId,
    inferenceMarket: market,
    disputeGame: game,
    paymentChannels: channels,
    payer,
    signer,
    offer,
    receipt,
    ...(input ? { input: base64(input) } : {}),
    ...(output ? { output: base64(output) } : {}),
  };
}
