"""Contributions of data: rounds that value them, who brought what, and what it earned.

```
 rounds.py         a model's holder opens a round, commits to its test set, reveals it
 contributions.py  an owner commits to a data set, later reveals it; somebody relays it
 listing.py        the contributions to a round and what became of them
 records.py        the model's hash chain of contributions, recomputed
 standing.py       tiers, endorsements, credits, and the share of fees that is claimed
 advancing.py      every step of a round that anyone may take
 secrets.py        what must not be lost between commitment and reveal, on this machine alone
```
"""
