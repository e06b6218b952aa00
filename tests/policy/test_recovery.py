from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from flows.policy.recovery import Recovery

recoveries = st.builds(
    Recovery,
    cooldown_minutes=st.floats(0.1, 10080),
    backoff=st.floats(1, 10),
    max_cooldown_minutes=st.floats(0.1, 10080),
)
leases = st.text("0123456789abcdef", min_size=8, max_size=8)
MOMENT = timedelta(microseconds=2)


@given(recoveries, st.integers(0, 60), leases)
def test_jitter_only_prolongs_and_by_a_tenth_at_most(recovery: Recovery, reopened: int, lease: str) -> None:
    cap = max(recovery.cooldown_minutes, recovery.max_cooldown_minutes)
    plain = timedelta(minutes=min(cap, recovery.cooldown_minutes * recovery.backoff ** min(reopened, 50)))
    assert plain - MOMENT <= recovery.cooldown(reopened, lease) <= plain * 1.1 + MOMENT


@given(recoveries, st.integers(0, 10**9), leases)
def test_no_cooldown_is_longer_than_the_longest(recovery: Recovery, reopened: int, lease: str) -> None:
    cap = timedelta(minutes=max(recovery.cooldown_minutes, recovery.max_cooldown_minutes))
    assert timedelta() < recovery.cooldown(reopened, lease) <= cap


@given(recoveries, st.integers(0, 60), leases)
def test_the_same_lease_has_the_same_cooldown(recovery: Recovery, reopened: int, lease: str) -> None:
    assert recovery.cooldown(reopened, lease) == recovery.cooldown(reopened, lease)


@given(leases)
def test_each_failed_probe_doubles_the_cooldown_up_to_the_cap(lease: str) -> None:
    recovery = Recovery(cooldown_minutes=10, backoff=2, max_cooldown_minutes=50)
    for reopened, minutes in enumerate([10, 20, 40, 50, 50]):
        length = recovery.cooldown(reopened, lease)
        assert timedelta(minutes=minutes) <= length <= timedelta(minutes=min(50, minutes * 1.1))


def test_pauses_that_began_together_end_apart() -> None:
    assert len({Recovery().cooldown(0, f"{number:08x}") for number in range(50)}) > 40


def test_a_cap_below_the_cooldown_does_not_shorten_it() -> None:
    recovery = Recovery(cooldown_minutes=60, max_cooldown_minutes=5)
    assert recovery.cooldown(0, "ab") == recovery.cooldown(9, "ab") == timedelta(minutes=60)
