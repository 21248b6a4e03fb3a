// Wallets: found by EIP-6963 (or the old window.ethereum), spoken to by EIP-1193. Holds no key.

const announced = new Map();
let provider = null,
  account = null;

window.addEventListener("eip6963:announceProvider", (event) => {
  const { info, provider: found } = event.detail ?? {};
  if (info?.uuid && found?.request)
    announced.set(info.uuid, { name: String(info.name), icon: info.icon, provider: found });
});
window.dispatchEvent(new Event("eip6963:requestProvider"));

/** Return the wallets of this browser. */
export function discover() {
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  if (!announced.size && window.ethereum?.request)
    return [{ name: "Wallet", provider: window.ethereum }];
  return [...announced.values()];
}

export const wallet = () => ({ provider, account });

/** Ask a wallet for its account, on this page's chain. */
export async function connect(chosen, chainId, t) {
  const accounts = await chosen.request({ method: "eth_requestAccounts" });
  const wanted = "0x" + chainId.toString(16);
  let have = await chosen.request({ method: "eth_chainId" });
  if (Number(have) !== chainId) {
    await chosen
      .request({ method: "wallet_switchEthereumChain", params: [{ chainId: wanted }] })
      .catch(() => {});
    have = await chosen.request({ method: "eth_chainId" });
    if (Number(have) !== chainId)
      throw new Error(t("wallet.chain", { have: Number(have), want: chainId }));
  }
  provider = chosen;
  account = accounts[0];
  chosen.on?.("accountsChanged", (now) => {
    account = now[0] ?? null;
    document.dispatchEvent(new CustomEvent("wallet"));
  });
  chosen.on?.("chainChanged", () => window.location.reload());
  return account;
}

/** Let the connected account sign a text (EIP-191). */
export const personalSign = (text) =>
  provider.request({ method: "personal_sign", params: [hexOf(text), account] });

const hexOf = (text) =>
  "0x" +
  Array.from(new TextEncoder().encode(text), (b) => b.toString(16).padStart(2, "0")).join("");

/** Send a call from the connected account and wait for its receipt; `sent` is told its hash first. */
export async function send(to, data, t, value = "0x0", sent = () => {}) {
  const hash = await provider.request({
    method: "eth_sendTransaction",
    params: [{ from: account, to, data, value }],
  });
  sent(hash);
  for (;;) {
    const receipt = await provider.request({ method: "eth_getTransactionReceipt", params: [hash] });
    if (receipt) {
      if (Number(receipt.status) !== 1) throw new Error(t("wallet.reverted"));
      return receipt;
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}
