"""What comes over a channel is read whatever it is; only messages come out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools.bus.hearing import split_frame
from mahavishnu_pools.schemas.message import Message, MessageType, read_message

#: Text as it comes from a client that decodes bytes that are no UTF-8 to halves of characters.
anything = st.binary(max_size=300).map(lambda data: data.decode(errors="surrogateescape")) | st.text(max_size=300)

messages = st.builds(
    Message,
    type=st.sampled_from([kind for kind in MessageType if kind is not MessageType.TASK_DELEGATE]),
    source_pool_id=st.text(min_size=1, max_size=20),
    payload=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20) | st.booleans() | st.none()),
)


@given(anything)
def test_anything_is_split_and_read(data: str) -> None:
    number, texts = split_frame(data)

    assert number >= 0
    assert all(isinstance(read_message(text), Message | None) for text in texts)


@given(st.lists(messages, min_size=1, max_size=5), st.integers(0, 10**17))
def test_a_frame_of_messages_comes_out_as_it_went_in(sent: list[Message], number: int) -> None:
    frame = "\n".join([str(number), *(message.model_dump_json() for message in sent)])

    last, texts = split_frame(frame)

    assert (last, [read_message(text) for text in texts]) == (number, sent)


@given(messages)
def test_a_single_message_without_a_number_is_one_message(sent: Message) -> None:
    number, texts = split_frame(sent.model_dump_json(indent=2))

    assert (number, [read_message(text) for text in texts]) == (0, [sent])
