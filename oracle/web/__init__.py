"""The web page: server-rendered, small ES modules, readable without a wallet and without scripts.

`pages.router` is all that an application needs; see docs/web.md.
"""
