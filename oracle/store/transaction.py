"""One transaction on the store: everything in it happens, or nothing."""

from oracle.store.audit_repository import AuditPart
from oracle.store.chain_repository import ChainPart
from oracle.store.gateway_repository import GatewayPart
from oracle.store.job_repository import JobPart
from oracle.store.reply_repository import ReplyPart


class Transaction(ChainPart, JobPart, ReplyPart, AuditPart, GatewayPart):
    """What `Store.begin` and `Store.read` hand out; of no use after their block."""
