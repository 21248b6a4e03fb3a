"""One transaction on the store: everything in it happens, or nothing."""

from oracle.store.audit_part import AuditPart
from oracle.store.chain_part import ChainPart
from oracle.store.gateway_part import GatewayPart
from oracle.store.job_part import JobPart
from oracle.store.reply_part import ReplyPart


class Transaction(ChainPart, JobPart, ReplyPart, AuditPart, GatewayPart):
    """What `Store.begin` and `Store.read` hand out; of no use after their block."""
