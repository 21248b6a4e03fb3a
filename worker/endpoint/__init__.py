"""An operator's own endpoint: a voucher pays, a signed receipt stands behind the answer.

The one process where the operator's key and its models meet: an answer is signed in milliseconds,
and no queue is on its way. docs/channels.md describes it.
"""
