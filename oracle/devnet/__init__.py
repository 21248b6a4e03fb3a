"""A whole network on one machine: Anvil, IPFS, Redis, contracts, wallets, two operators.

`servers` says how each server is started, `wallets` whose keys there are, `network` in which order
everything comes up, `background` how it runs without a terminal and is found and stopped again.
"""
