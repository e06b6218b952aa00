import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.blame import Blame, Suspect, place_blame
from flows.policy.failure_threshold import FailureThreshold, Tally

THRESHOLD = FailureThreshold(failure_rate=0.5, minimum_runs=10)


def suspect(finished: int, failed: int, name: str = "flow/nightly") -> Suspect:
    return Suspect(f"id-{name}", name, Tally(finished, failed))


def blame(whole: Tally, *suspects: Suspect) -> Blame:
    return place_blame(whole, suspects, THRESHOLD)


def test_a_few_failures_among_many_good_runs_are_nothing() -> None:
    assert blame(Tally(63, 3)) == Blame(health="3 of 63 runs failed (5%, threshold 50%)")


def test_exactly_at_the_threshold_is_failing() -> None:
    assert blame(Tally(10, 5)).pool
    assert not blame(Tally(11, 5)).pool


def test_too_few_runs_is_an_answer_of_its_own() -> None:
    assert blame(Tally(9, 9)) == Blame(health="9 runs ended, too few to judge (at least 10)")
    assert blame(Tally(9, 9), suspect(9, 9)).health == "9 runs ended, too few to judge (at least 10)"


@pytest.mark.parametrize(
    ("good", "failed", "is_alone"), [(10, 0, True), (9, 0, False), (10, 9, True), (10, 10, False), (0, 0, False)]
)
def test_a_deployment_is_blamed_alone_only_where_the_rest_shows_that_it_is_healthy(
    good: int, failed: int, *, is_alone: bool
) -> None:
    found = blame(Tally(10 + good + failed, 10 + failed), suspect(10, 10))
    assert bool(found.deployments) is is_alone
    assert bool(found.pool) is not is_alone


def test_several_failing_deployments_are_blamed_beside_a_healthy_rest() -> None:
    found = blame(Tally(40, 20), suspect(10, 10, "flow/a"), suspect(10, 10, "flow/b"), suspect(10, 4, "flow/c"))
    assert set(found.deployments) == {"id-flow/a", "id-flow/b"}
    assert found.health.startswith("2 deployments of it are failing alone: flow/a, flow/b; ")


def test_says_why_the_pool_is_blamed_for_a_deployment() -> None:
    assert blame(Tally(10, 10), suspect(10, 10)).pool.endswith("failing: flow/nightly; nothing else ran")
    assert blame(Tally(30, 30), suspect(10, 10)).pool.endswith("the rest fails too")
    assert "9 good runs of the rest, of at least 10" in blame(Tally(19, 10), suspect(10, 10)).pool


@st.composite
def pools(draw: st.DrawFn) -> tuple[Tally, tuple[Suspect, ...], FailureThreshold]:
    parts = draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=5))
    tallies = [Tally(good + failed, failed) for good, failed in parts]
    whole = Tally(sum(each.finished for each in tallies), sum(each.failed for each in tallies))
    suspects = tuple(Suspect(str(i), f"flow/{i}", each) for i, each in enumerate(tallies[1:]))
    rate, fewest = draw(st.integers(1, 100)), draw(st.integers(1, 15))
    return whole, suspects, FailureThreshold(failure_rate=rate / 100, minimum_runs=fewest)


@given(pools())
def test_never_blames_a_pool_and_its_deployments_for_the_same_runs(
    pool: tuple[Tally, tuple[Suspect, ...], FailureThreshold],
) -> None:
    found = place_blame(*pool)
    assert not (found.pool and found.deployments)
    assert bool(found.health) is not bool(found.pool)


@given(pools())
def test_who_is_blamed_alone_is_failing_and_the_rest_is_not(
    pool: tuple[Tally, tuple[Suspect, ...], FailureThreshold],
) -> None:
    whole, suspects, threshold = pool
    blamed = [each for each in suspects if each.id in place_blame(*pool).deployments]
    if not blamed:
        return
    assert all(threshold.judge(finished=each.tally.finished, failed=each.tally.failed).is_failing for each in blamed)
    finished = whole.finished - sum(each.tally.finished for each in blamed)
    failed = whole.failed - sum(each.tally.failed for each in blamed)
    assert finished - failed >= threshold.minimum_runs
    assert not threshold.judge(finished=finished, failed=failed).is_failing


@given(pools())
def test_who_is_failing_never_goes_without_blame(
    pool: tuple[Tally, tuple[Suspect, ...], FailureThreshold],
) -> None:
    whole, suspects, threshold = pool
    found = place_blame(*pool)
    tallies = [whole, *(each.tally for each in suspects)]
    is_failing = any(threshold.judge(finished=each.finished, failed=each.failed).is_failing for each in tallies)
    assert bool(found.pool or found.deployments) is is_failing
