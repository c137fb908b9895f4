"""Topics: what is built can be parsed, nothing else can, and the filters cover exactly the channels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidInput
from gateway.model import names, topics
from gateway.model.topics import DOWN, RETAINED, UP, Channel, Topic, downlink_filters, parse, uplink_filters

DETAIL = {
    Channel.DESIRED: names.AUTHORITY, Channel.REPORTED: names.APP, Channel.DATA: names.STREAM,
    Channel.REQUEST: names.OPERATION, Channel.RESPONSE: names.OPERATION,
}  # fmt: skip


@st.composite
def every_topic(draw: st.DrawFn) -> Topic:
    channel = draw(st.sampled_from(Channel))
    rule = DETAIL.get(channel)
    detail = draw(st.from_regex(rule, fullmatch=True)) if rule else ""
    return Topic(draw(st.from_regex(names.GATEWAY, fullmatch=True)), channel, detail)


@given(every_topic())
def test_what_is_built_is_parsed(topic: Topic) -> None:
    assert parse(str(topic)) == topic


@given(st.text() | st.lists(st.sampled_from([*Channel, "fieldgate", "v1", "gw", "", "+", "#", "x\n"])).map("/".join))
def test_any_other_string_is_refused(text: str) -> None:
    try:
        topic = parse(text)
    except InvalidInput:
        return
    assert str(topic) == text


@given(every_topic(), st.sampled_from(["/", "/x", "\n", "\0", "#", " "]))
def test_nothing_may_follow(topic: Topic, more: str) -> None:
    text = str(topic) + more
    try:
        assert parse(text) != topic
    except InvalidInput:
        return
    pytest.fail(f"{text!r} was parsed")


def test_the_keys_come_down_and_stay() -> None:
    assert str(Topic("gw-1", Channel.KEYS)) == "fieldgate/v1/gw-1/keys"
    assert Channel.KEYS in DOWN
    assert Channel.KEYS in RETAINED
    with pytest.raises(InvalidInput):
        parse("fieldgate/v1/gw-1/keys/cloud")


def test_every_channel_has_one_direction() -> None:
    assert sorted(DOWN + UP) == sorted(Channel)


def test_a_gateway_subscribes_to_its_own_downlink_only() -> None:
    assert downlink_filters("gw-1") == (
        "fieldgate/v1/gw-1/desired/+",
        "fieldgate/v1/gw-1/ack",
        "fieldgate/v1/gw-1/keys",
        "fieldgate/v1/gw-1/request/+",
    )
    with pytest.raises(InvalidInput):
        downlink_filters("+")


@given(every_topic())
def test_filters_cover_the_topics_of_their_direction(topic: Topic) -> None:
    mine = any(names.tag_matches(pattern, str(topic)) for pattern in downlink_filters(topic.gateway))
    clouds = any(names.tag_matches(pattern, str(topic)) for pattern in uplink_filters())
    assert (mine, clouds) == (topic.channel in topics.DOWN, topic.channel in topics.UP)
