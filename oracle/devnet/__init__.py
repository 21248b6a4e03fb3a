"""A whole network on one machine: Anvil, IPFS, Redis, contracts, wallets, two operators.

`servers` says how each server is started, `wallets` whose keys there are. `network` brings
everything up in order. `background` runs it without a terminal, finds it again and stops it.
"""
