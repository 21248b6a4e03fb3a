"""One transaction on the store: everything in it happens, or nothing."""

from oracle.store.audit_repository import AuditRepository
from oracle.store.chain_repository import ChainRepository
from oracle.store.gateway_repository import GatewayRepository
from oracle.store.job_repository import JobRepository
from oracle.store.reply_repository import ReplyRepository


class Transaction(
    ChainRepository, JobRepository, ReplyRepository, AuditRepository, GatewayRepository
):
    """What `Store.begin` and `Store.read` hand out; of no use after their block."""
