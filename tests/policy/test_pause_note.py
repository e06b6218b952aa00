from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.lease import read_note, with_note, without_note
from flows.policy.pause_note import (
    as_drained,
    half_done,
    is_by_hand,
    read_deletion,
    read_pause,
    stale_note_gone,
    why_paused,
    with_deletion,
    with_pause,
    without_deletion,
    without_pause,
)
from tests.builders import NOW
from tests.policy.test_lease import owners
from tests.strategies import texts

reasons = texts | st.sampled_from(
    ["", "[ok] 5 of 10]", "Pause ff]", "Lease ff.9]", "It was paused before. Pause ff] [Poolkeeper: draining since x"]
)
tags = st.text("0123456789abcdef", min_size=12, max_size=12)
begins = st.sampled_from(["paused on 2026-03-29 12:00:00 UTC by", "draining since 2026-03-29 12:00:00 UTC by"])
DELETING = "being deleted since 2026-03-29 12:00:00 UTC by"


@given(owners, begins, reasons, tags)
def test_the_note_of_a_pause_goes_without_a_trace(own: str | None, begin: str, why: str, tag: str) -> None:
    noted = with_pause(own, f"{begin} {why}.", tag)
    note = read_pause(noted)
    assert note is not None
    assert (note.tag, note.since) == (tag, NOW)
    assert note.is_draining == begin.startswith("draining")
    assert without_pause(noted) == own
    assert stale_note_gone(noted, is_paused=False) == own
    assert stale_note_gone(noted, is_paused=True) == noted


@given(owners, begins, begins, reasons, tags, tags)
def test_a_second_pause_stands_instead_of_the_first(
    own: str | None, first: str, second: str, why: str, tag: str, other: str
) -> None:
    once = with_pause(own, f"{first} {why}.", tag)
    assert with_pause(once, f"{second} {why}.", other) == with_pause(own, f"{second} {why}.", other)


@given(owners, begins, reasons, tags, st.booleans())
def test_a_deletion_goes_back_to_what_was_before_it(
    own: str | None, begin: str, why: str, tag: str, was_paused: bool
) -> None:
    before = with_pause(own, f"{begin} {why}.", tag) if was_paused else own
    noted = with_deletion(before, f"{DELETING} {why}.", tag, was_paused=was_paused)
    note = read_deletion(noted)
    assert note is not None
    assert (note.tag, note.was_paused, note.since) == (tag, was_paused, NOW)
    assert without_deletion(noted) == before
    assert with_deletion(noted, f"{DELETING} {why}.", tag, was_paused=was_paused) == noted
    assert "Run delete again" in half_done(noted)


@given(owners, begins, reasons, tags)
def test_nobodys_note_is_taken_for_another(own: str | None, begin: str, why: str, tag: str) -> None:
    paused = with_pause(own, f"{begin} {why}.", tag)
    deleting = with_deletion(own, f"{DELETING} {why}.", tag, was_paused=True)
    leased = with_note(own, why, "0123abcd.4")
    assert [read_note(each) for each in (paused, deleting)] == [None, None]
    assert [read_pause(each) for each in (leased, deleting)] == [None, None]
    assert [read_deletion(each) for each in (leased, paused)] == [None, None]
    assert [is_by_hand(each) for each in (paused, deleting, leased)] == [True, True, False]
    assert without_note(paused) == paused
    assert without_pause(leased) == leased


@given(owners, begins, reasons, tags)
def test_notes_that_stand_before_each_other_go_each_by_itself(own: str | None, begin: str, why: str, tag: str) -> None:
    leased = with_note(own, why, "0123abcd.4")
    both = with_pause(leased, f"{begin} {why}.", tag)
    assert without_pause(both) == leased
    assert without_note(both) == with_pause(own, f"{begin} {why}.", tag)


@given(owners, reasons, tags)
def test_a_drain_that_is_over_says_so_and_still_goes_without_a_trace(own: str | None, why: str, tag: str) -> None:
    noted = with_pause(own, f"draining since 2026-03-29 12:00:00 UTC by {why}.", tag)
    drained = as_drained(noted, tag, datetime(2026, 3, 29, 13, tzinfo=UTC))
    note = read_pause(drained)
    assert note is not None
    assert note.words.startswith("drained on 2026-03-29 13:00:00 UTC, draining since 2026-03-29 12:00:00 UTC")
    assert (note.tag, note.is_draining) == (tag, False)
    assert without_pause(drained) == own
    assert as_drained(noted, f"{tag}0", NOW) == noted
    assert as_drained(drained, tag, NOW) == drained


def test_a_note_reads_as_it_was_written() -> None:
    written = with_pause("Nightly loads", "paused on 2026-03-29 12:00:00 UTC by Ann. Why: an [upgrade].", "0123abcd")
    assert written == (
        "[Poolkeeper: paused on 2026-03-29 12:00:00 UTC by Ann. Why: an (upgrade). Pause 0123abcd]\n\nNightly loads"
    )
    assert why_paused(written) == "paused on 2026-03-29 12:00:00 UTC by Ann. Why: an (upgrade)."


@pytest.mark.parametrize("own", [None, "", "Nightly loads", "[Poolkeeper: mine]", "[Poolkeeper: paused Pause ab]"])
def test_an_own_description_is_no_note(own: str | None) -> None:
    assert read_pause(own) is None
    assert read_deletion(own) is None
    assert (half_done(own), why_paused(own)) == ("", "")
    assert without_pause(own) == own
