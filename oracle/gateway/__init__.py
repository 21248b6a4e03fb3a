"""A gateway: one account that asks for many clients, and loses nothing that it has accepted.

```
 client ─▶ catalogue ─▶ sponsor ─ticket, charge, intent─▶ store ─▶ dispatcher ─▶ chain
        ◀─ answers ◀─ bell ◀──────────── follower ◀─ events of the market ◀────────┘
```
"""
