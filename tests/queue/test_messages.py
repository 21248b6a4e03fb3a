"""Every message: it comes back from its JSON as it was, and anything else is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.protocol.hexadecimal import to_hex
from oracle.queue import message, messages, reference
from oracle.queue.message import Message, MessageMalformed
from oracle.queue.messages import MESSAGES, AuditMessage, InferMessage, PlayMessage, RespondMessage
from oracle.store.reply_repository import GameTurn, ReplyKind
from oracle.types import ZERO32, ZERO_ADDRESS, Timestamp

WORD = st.binary(min_size=32, max_size=32)
ADDRESS = st.sampled_from([ZERO_ADDRESS, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"])
WORD256 = st.integers(-(2**255), 2**256 - 1)
DEMAND = st.builds(
    GameTurn,
    ADDRESS,
    st.sampled_from(ReplyKind),
    st.integers(0, 2**62),
    *(st.integers(0, 2**64),) * 3,
)
TRACE = st.builds(messages.TraceJob, *(WORD,) * 6)
NESTED = st.recursive(
    WORD256 | st.binary(max_size=64), lambda inner: st.lists(inner, max_size=3).map(tuple)
)
FIELDS = {
    InferMessage: (WORD, st.integers(0), st.integers(0), *(WORD,) * 5, st.integers(0, 5)),
    messages.DeliverMessage: (WORD, WORD, WORD),
    messages.ReportFailureMessage: (WORD, st.text(), st.text(max_size=1000), st.booleans()),
    messages.ClaimMessage: (WORD,),
    messages.PostOutputMessage: (WORD,),
    messages.FinalizeMessage: (st.lists(WORD).map(tuple),),
    RespondMessage: (TRACE, DEMAND),
    PlayMessage: (WORD, DEMAND, st.text(), st.lists(NESTED, max_size=4).map(tuple)),
    messages.ReceiptMessage: (WORD, WORD),
    AuditMessage: (TRACE,),
    messages.ValueMessage: (st.from_regex(r"[0-9]{1,20}-[0-9a-f]{16}", fullmatch=True),),
    messages.WatchMessage: (),
}
ANY = st.one_of(*(st.builds(kind, *drawn) for kind, drawn in FIELDS.items()))
DOCS = Path(__file__).parents[2] / "docs" / "operator.md"

INFER = InferMessage(ZERO32, 1, 2, ZERO32, ZERO32, ZERO32, ZERO32, ZERO32)
PLAY = PlayMessage(
    ZERO32, GameTurn(ZERO_ADDRESS, ReplyKind.NODE, Timestamp(9), 1, 2, 3), "openNode", (1, (b"ab",))
)


@given(ANY)
def test_from_json__what_to_json_wrote__is_the_same_message(sent: Message) -> None:
    assert type(sent).from_json(json.loads(json.dumps(sent.to_json()))) == sent


def test_registry__every_kind_of_message__is_in_it_once_with_a_name_of_its_own() -> None:
    written = {c for c in vars(messages).values() if isinstance(c, type) and issubclass(c, Message)}

    assert set(MESSAGES) == set(FIELDS) == written - {Message}
    assert len({kind.name for kind in MESSAGES}) == len(MESSAGES)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.name)
def test_from_json__unknown_field__refused(kind: type[Message]) -> None:
    with pytest.raises(MessageMalformed, match="nobody_reads_this"):
        kind.from_json({"nobody_reads_this": 1})


@pytest.mark.parametrize("kind", sorted(FIELDS, key=lambda kind: kind.name), ids=lambda k: k.name)
def test_from_json__field_missing__refused(kind: type[Message]) -> None:
    if FIELDS[kind]:
        with pytest.raises(MessageMalformed, match=kind.name):
            kind.from_json({})


@pytest.mark.parametrize(
    ("sent", "changes"),
    [
        (INFER, {"request_id": None}),
        (INFER, {"request_id": "0x" + "1" * 63}),
        (INFER, {"request_id": "11" * 33}),
        (INFER, {"model_id": "one"}),
        (INFER, {"params": "0x" + "zz" * 32}),
        (INFER, {"input_root": 5}),
        (PLAY, {"request_id": "0x12"}),
        (PLAY, {"demand": {"challenger": "0x" + "aB" * 20, "ask": "node", "deadline": 9}}),
        (PLAY, {"demand": {"challenger": ZERO_ADDRESS, "ask": "money", "deadline": 9}}),
        (PLAY, {"demand": {"challenger": ZERO_ADDRESS, "ask": "node"}}),
        (PLAY, {"arguments": ["text"]}),
        (PLAY, {"arguments": [None]}),
        (PLAY, {"arguments": [[1.5]]}),
        (PLAY, {"arguments": 1}),
        (messages.ValueMessage("1-0123456789abcdef"), {"job": "../other"}),
        (messages.ValueMessage("1-0123456789abcdef"), {"job": "1-0123456789abcdef\n"}),
        (messages.FinalizeMessage(()), {"request_ids": to_hex(ZERO32)}),
    ],
)
def test_from_json__malformed_field__refused(sent: Message, changes: dict[str, object]) -> None:
    body = sent.to_json()
    assert type(sent).from_json(body) == sent
    with pytest.raises(MessageMalformed):
        type(sent).from_json({**body, **changes})


def test_from_json__message_malformed__is_told_without_its_bytes() -> None:
    with pytest.raises(message.MessageMalformed) as caught:
        InferMessage.from_json({**INFER.to_json(), "params": "0x" + "zz" * 3000})

    assert "tallystick.infer: params" in str(caught.value)
    assert len(str(caught.value)) < 600


def test_docs__list_of_messages__is_current() -> None:
    page = DOCS.read_text()

    assert reference.BEGIN in page
    assert reference.replaced(page) == page, (
        "run `python -m oracle.queue.reference docs/operator.md`"
    )
