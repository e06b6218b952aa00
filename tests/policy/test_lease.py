from hypothesis import given
from hypothesis import strategies as st

from flows.policy.lease import NOTE, Note, read_note, with_note, without_note
from tests.strategies import texts

owners = (
    st.none()
    | texts
    | st.text("[]\n :.Poolkeeper", max_size=30)
    | st.sampled_from(
        ["", "\n", "\n\n", "\n\nafter a gap", "[", "]", "[Poolkeeper: ]", "[Poolkeeper: half", "Lease ab.1]"]
    )
)
reasons = texts | st.sampled_from(["", "[ok] 5 of 10]", "Lease ff.9]", "Former limit: 3. Lease ff.9] [Poolkeeper: x"])
leases = st.text("0123456789abcdef", min_size=8, max_size=8)
steps = st.integers(0, 10**6)


@given(owners, reasons, leases, steps)
def test_a_note_goes_without_a_trace(own: str | None, words: str, lease: str, step: int) -> None:
    assert without_note(with_note(own, words, f"{lease}.{step}")) == own


@given(owners, reasons, reasons, leases, steps)
def test_a_second_note_stands_instead_of_the_first(
    own: str | None, first: str, second: str, lease: str, step: int
) -> None:
    twice = with_note(with_note(own, first, f"{lease}.{step}"), second, f"{lease}.{step + 1}")
    assert twice == with_note(own, second, f"{lease}.{step + 1}")
    assert len(NOTE.findall(twice)) == 1
    assert without_note(twice) == own


@given(owners, reasons, leases, steps)
def test_a_note_tells_its_lease_and_step_whatever_the_reason(
    own: str | None, words: str, lease: str, step: int
) -> None:
    note = read_note(with_note(own, words, f"{lease}.{step}"))
    assert note is not None
    assert (note.lease, note.step, note.tag) == (lease, step, f"{lease}.{step}")


@given(owners, reasons, st.none() | st.integers(0, 10**6), leases, steps)
def test_a_note_tells_the_former_limit(own: str | None, words: str, limit: int | None, lease: str, step: int) -> None:
    said = "none" if limit is None else str(limit)
    note = read_note(with_note(own, f"{words} Former limit: {said}.", f"{lease}.{step}"))
    assert note is not None
    assert note.former_limit == said


def test_a_note_reads_as_it_was_written() -> None:
    written = with_note("Nightly loads", "paused. Why: 5 of 10 [runs] failed.", "0123abcd.4")
    assert written == "[Poolkeeper: paused. Why: 5 of 10 (runs) failed. Lease 0123abcd.4]\n\nNightly loads"
    assert read_note(written) == Note("paused. Why: 5 of 10 (runs) failed.", "0123abcd", 4)


def test_a_note_is_found_behind_what_a_person_wrote_before_it() -> None:
    assert without_note("Careful! " + with_note("Nightly loads", "why", "ab.1")) == "Careful! Nightly loads"


def test_an_own_description_is_no_note() -> None:
    for own in (None, "", "Nightly loads", "[Poolkeeper: mine]", "[Poolkeeper: Lease xyz.1]"):
        assert read_note(own) is None
        assert without_note(own) == own
