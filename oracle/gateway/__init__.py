"""A gateway: one account that asks for many clients, and loses nothing that it has accepted.

```
 client ─▶ catalogue ─▶ sponsor ─ticket, charge, intent─▶ store ─▶ dispatcher ─▶ chain
        ◀─ answers ◀─ notifier ◀──────────── follower ◀─ events of the market ◀────────┘
```
"""
