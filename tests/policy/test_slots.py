from collections.abc import Sequence
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.slots import Gate, Limits, Start, Want, _first_come, _Pool, simulate

QUEUES = ("urgent", "usual", "slow")
ANYWHERE = QUEUES[1]

Spans = list[tuple[Want, float, float]]

limits_of_pool = st.none() | st.integers(0, 4)
seconds = st.integers(1, 12)


def wants_of(queues: Sequence[str], lengths: st.SearchStrategy[float] = seconds) -> st.SearchStrategy[list[Want]]:
    """Runs that ask within a few seconds, some already late. Each deployment has its queue, as Prefect has it."""

    def want(at: int, length: float, queue: str, number: int) -> Want:
        return Want(at, length, queue, f"{queue} {number}")

    one = st.builds(want, st.integers(-5, 15), lengths, st.sampled_from(queues), st.integers(0, 1))
    return st.lists(one, max_size=9)


def held_of(queues: Sequence[str]) -> st.SearchStrategy[list[Want]]:
    """Who has a slot from the beginning: never by asking for it now, some for good."""
    lengths = seconds | st.just(inf)
    return wants_of(queues, lengths).map(lambda held: [replace(each, at=0) for each in held[:4]])


@st.composite
def limits_anywhere(draw: st.DrawFn) -> Limits:
    """Limits on the pool, on queues, and on deployments, of which some cancel what finds them reached."""
    deployments = [f"{queue} {number}" for queue in QUEUES for number in (0, 1)]
    return Limits(
        pool=draw(limits_of_pool),
        queues=dict.fromkeys(QUEUES) | draw(st.dictionaries(st.sampled_from(QUEUES), limits_of_pool)),
        deployments=draw(st.dictionaries(st.sampled_from(deployments), st.integers(0, 2))),
        cancels=draw(st.frozensets(st.sampled_from(deployments))),
    )


def by_stepping(wants: Sequence[Want], held: Sequence[Want], limits: Limits) -> list[Start]:
    """The same by hand: look at everything, second by second, and give each slot that can be given."""
    holding: Spans = [(each, 0, each.seconds) for each in held]
    starts: dict[int, Start] = {}
    gates: dict[int, Gate] = {}
    queues = list(dict.fromkeys([*limits.queues, *(want.queue for want in wants)]))
    in_line = sorted(range(len(wants)), key=lambda index: (queues.index(wants[index].queue), wants[index].at, index))
    lengths = [each.seconds for each in [*wants, *held] if each.seconds < inf]
    for now in range(int(max([0, *(want.at for want in wants)]) + sum(lengths)) + 2):
        holding = [each for each in holding if each[2] > now]
        here = [index for index in in_line if wants[index].at <= now and index not in starts]
        for index in here:
            want = wants[index]
            gate = gate_before(want, [each for each, _, _ in holding], limits)
            if gate is None:
                starts[index] = Start(now, gates.get(index))
                holding.append((want, now, now + want.seconds))
            elif gate is Gate.DEPLOYMENT and want.deployment in limits.cancels:
                starts[index] = Start(None, gate)
            elif gate is Gate.DEPLOYMENT:
                gates.setdefault(index, gate)
        for index in here:
            if index not in starts:
                # Whoever comes later may have taken the pool's last slot in the same second.
                is_full = limits.pool is not None and len(holding) >= limits.pool
                gates.setdefault(index, Gate.POOL if is_full else Gate.QUEUE)
    return [starts.get(index, Start(None, gates.get(index))) for index in range(len(wants))]


def gate_before(want: Want, holders: Sequence[Want], limits: Limits) -> Gate | None:
    of_queue, of_deployment = limits.queues.get(want.queue), limits.deployments.get(want.deployment)
    if limits.pool is not None and len(holders) >= limits.pool:
        return Gate.POOL
    if of_queue is not None and sum(each.queue == want.queue for each in holders) >= of_queue:
        return Gate.QUEUE
    if of_deployment is not None and sum(each.deployment == want.deployment for each in holders) >= of_deployment:
        return Gate.DEPLOYMENT
    return None


def spans(wants: Sequence[Want], held: Sequence[Want], starts: Sequence[Start]) -> Spans:
    """Who holds a slot, and from when to when."""
    began = zip(wants, starts, strict=True)
    return [(each, 0.0, each.seconds) for each in held] + [
        (want, start.at, start.at + want.seconds) for want, start in began if start.at is not None
    ]


def holders(there: Spans, now: float) -> list[Want]:
    return [want for want, begin, end in there if begin <= now < end]


def begins(want: Want) -> float:
    """The earliest moment at which it could have its slot."""
    return max(0.0, want.at)


def never(start: Start) -> float:
    return inf if start.at is None else start.at


def starting(wants: Sequence[Want], limits: Limits, held: Sequence[Want] = ()) -> list[float | None]:
    return [start.at for start in simulate(wants, held, limits)]


# By hand.


def test_nobody_waits_where_there_is_no_limit() -> None:
    wants = [Want(5, 60), Want(-9, 60), Want(5, inf)]
    assert simulate(wants, [Want(0, inf)] * 9, Limits()) == [Start(5), Start(0.0), Start(5)]
    unlimited = Limits(queues=dict.fromkeys(QUEUES))
    assert simulate(wants, [], unlimited) == [Start(5), Start(0.0), Start(5)]


def test_whoever_finds_all_slots_taken_gets_the_first_that_is_given_back() -> None:
    wants = [Want(0, 60), Want(0, 30), Want(10, 60), Want(20, 60)]
    waited = [Start(0), Start(0), Start(30, Gate.POOL), Start(60, Gate.POOL)]
    assert simulate(wants, [], Limits(pool=2)) == waited


def test_a_slot_is_free_in_the_very_moment_in_which_it_is_given_back() -> None:
    assert simulate([Want(0, 60), Want(60, 60)], [], Limits(pool=1)) == [Start(0), Start(60)]


def test_slots_that_are_held_from_the_beginning_are_taken() -> None:
    assert starting([Want(0, 5)], Limits(pool=2), [Want(0, 7), Want(0, 9)]) == [7]
    assert starting([Want(0, 5)], Limits(pool=1), [Want(0, 7), Want(0, 9)]) == [9]
    assert starting([Want(0, 5)], Limits(pool=3), [Want(0, 7), Want(0, 9)]) == [0]


def test_slots_of_queues_and_deployments_can_be_held_from_the_beginning_as_well() -> None:
    wants = [Want(0, 5, "slow", "a"), Want(0, 5, "usual", "b")]
    by_queue = Limits(queues={"usual": None, "slow": 1})
    assert starting(wants, by_queue, [Want(0, 7, "slow", "c")]) == [7, 0]
    assert starting(wants, by_queue, [Want(0, 7, "usual", "c")]) == [0, 0]
    assert starting(wants, Limits(deployments={"a": 1}), [Want(0, 7, "other", "a")]) == [7, 0]


def test_the_more_urgent_queue_goes_first_and_within_a_queue_who_asked_first() -> None:
    wants = [Want(1, 10, "slow"), Want(3, 10, "urgent"), Want(2, 10, "urgent"), Want(1, 10, "usual")]
    limits = Limits(pool=1, queues=dict.fromkeys(QUEUES))
    assert starting(wants, limits, [Want(0, 5)]) == [35, 15, 5, 25]


def test_a_slot_is_never_kept_for_somebody_who_has_not_asked_yet() -> None:
    wants = [Want(0, 60, "slow"), Want(1, 60, "urgent")]
    assert starting(wants, Limits(pool=1, queues=dict.fromkeys(QUEUES))) == [0, 60]


def test_who_waits_for_a_queue_or_a_deployment_is_in_nobodys_way() -> None:
    wants = [Want(0, 60, "urgent"), Want(1, 60, "urgent"), Want(2, 60, "slow")]
    found = simulate(wants, [], Limits(pool=2, queues={"urgent": 1, "slow": None}))
    assert found == [Start(0), Start(60, Gate.QUEUE), Start(2)]
    wants = [Want(0, 60, "usual", "a"), Want(1, 60, "usual", "a"), Want(2, 60, "usual", "b")]
    found = simulate(wants, [], Limits(pool=2, deployments={"a": 1}))
    assert found == [Start(0), Start(60, Gate.DEPLOYMENT), Start(2)]


def test_a_limit_that_is_not_named_is_none() -> None:
    wants = [Want(0, 60, "unlisted", "a"), Want(0, 60, "unlisted", "b")]
    assert starting(wants, Limits(queues={"slow": 0}, deployments={"c": 0})) == [0, 0]


def test_the_limit_that_was_met_first_is_told_even_where_another_came_after() -> None:
    wants = [Want(0, 10, "slow", "a"), Want(0, 20, "usual", "b"), Want(1, 10, "slow", "b")]
    found = simulate(wants, [], Limits(queues={"usual": None, "slow": 1}, deployments={"b": 1}))
    assert found == [Start(0), Start(0), Start(20, Gate.QUEUE)]


def test_a_deployment_that_cancels_lets_nobody_wait_at_its_limit() -> None:
    limits = Limits(deployments={"a": 1}, cancels=frozenset("a"))
    wants = [Want(0, 60, deployment="a"), Want(30, 60, deployment="a"), Want(60, 60, deployment="a")]
    assert simulate(wants, [], limits) == [Start(0), Start(None, Gate.DEPLOYMENT), Start(60)]
    assert simulate(wants, [], replace(limits, cancels=frozenset("b")))[1] == Start(60, Gate.DEPLOYMENT)


def test_a_run_is_not_cancelled_before_a_worker_has_a_slot_for_it() -> None:
    limits = Limits(pool=1, deployments={"a": 1}, cancels=frozenset("a"))
    wants = [Want(0, 60, deployment="a"), Want(30, 60, deployment="a")]
    assert simulate(wants, [], limits) == [Start(0), Start(60, Gate.POOL)]


@pytest.mark.parametrize(
    ("limits", "gate"),
    [
        (Limits(pool=0), Gate.POOL),
        (Limits(pool=0, queues={"slow": 9}), Gate.POOL),
        (Limits(queues={"slow": 0}), Gate.QUEUE),
        (Limits(deployments={"a": 0}), Gate.DEPLOYMENT),
        (Limits(deployments={"a": 0}, cancels=frozenset("a")), Gate.DEPLOYMENT),
    ],
)
def test_at_a_limit_of_zero_nothing_ever_starts(limits: Limits, gate: Gate) -> None:
    assert simulate([Want(-5, 60, "slow", "a"), Want(5, 60, "slow", "a")], [], limits) == [Start(None, gate)] * 2
    assert starting([Want(0, 60, "slow", "a")], limits, [Want(0, 9, "slow", "a")]) == [None]


def test_nobody_asks_and_nothing_happens() -> None:
    for limits in (Limits(), Limits(pool=1), Limits(pool=1, queues={"slow": 1})):
        assert simulate([], [Want(0, inf)], limits) == []


# Whatever is asked for.


@given(wants_of(QUEUES, seconds | st.just(inf)), held_of(QUEUES), limits_anywhere())
def test_everybody_starts_when_somebody_who_looks_every_second_would_start_them(
    wants: list[Want], held: list[Want], limits: Limits
) -> None:
    assert simulate(wants, held, limits) == by_stepping(wants, held, limits)


@given(wants_of(QUEUES, seconds | st.just(inf)), held_of(QUEUES), limits_anywhere())
def test_never_more_slots_are_in_use_than_any_limit_allows(wants: list[Want], held: list[Want], limits: Limits) -> None:
    starts = simulate(wants, held, limits)
    there = spans(wants, held, starts)
    for want, start in zip(wants, starts, strict=True):
        if start.at is not None:
            used = holders(there, start.at)
            of_queue = [each for each in used if each.queue == want.queue]
            of_deployment = [each for each in used if each.deployment == want.deployment]
            assert limits.pool is None or len(used) <= limits.pool
            assert len(of_queue) <= (limits.queues.get(want.queue) or inf)
            assert len(of_deployment) <= limits.deployments.get(want.deployment, inf)
            assert 0 not in (limits.pool, limits.queues.get(want.queue), limits.deployments.get(want.deployment))


@given(wants_of(QUEUES, seconds | st.just(inf)), held_of(QUEUES), limits_anywhere())
def test_nobody_starts_before_asking_and_who_waits_is_told_for_what(
    wants: list[Want], held: list[Want], limits: Limits
) -> None:
    for want, start in zip(wants, simulate(wants, held, limits), strict=True):
        assert never(start) >= begins(want)
        assert (start.waited_for is None) is (start.at == begins(want))


@given(wants_of(QUEUES), held_of(QUEUES), limits_of_pool)
def test_nobody_waits_while_a_slot_is_free(wants: list[Want], held: list[Want], limit: int | None) -> None:
    starts = simulate(wants, held, Limits(pool=limit, queues=dict.fromkeys(QUEUES)))
    there = spans(wants, held, starts)
    changes = {0.0, *map(begins, wants), *(at for _, *both in there for at in both if at < inf)}
    for want, start in zip(wants, starts, strict=True):
        for now in changes:
            if begins(want) <= now < never(start):
                assert limit is not None
                assert len(holders(there, now)) >= limit


@given(wants_of(QUEUES), held_of(QUEUES), limits_of_pool, st.dictionaries(st.sampled_from(QUEUES), limits_of_pool))
def test_nobody_is_overtaken_in_the_queue(
    wants: list[Want], held: list[Want], limit: int | None, queues: dict[str, int | None]
) -> None:
    starts = simulate(wants, held, Limits(pool=limit, queues=dict.fromkeys(QUEUES) | queues))
    for queue in QUEUES:
        line = sorted((want.at, index) for index, want in enumerate(wants) if want.queue == queue)
        order = [never(starts[index]) for _, index in line]
        assert order == sorted(order)


@given(wants_of(QUEUES), held_of(QUEUES), st.integers(1, 4))
def test_no_slot_goes_to_a_queue_while_a_more_urgent_one_waits(wants: list[Want], held: list[Want], limit: int) -> None:
    starts = simulate(wants, held, Limits(pool=limit, queues=dict.fromkeys(QUEUES)))
    for want, start in zip(wants, starts, strict=True):
        for other, its in zip(wants, starts, strict=True):
            if QUEUES.index(want.queue) < QUEUES.index(other.queue) and its.at is not None and begins(want) <= its.at:
                assert never(start) <= its.at


@given(wants_of(QUEUES), st.integers(1, 4), st.integers(0, 3))
def test_slots_that_are_never_given_back_let_nobody_in(wants: list[Want], limit: int, more: int) -> None:
    lost = [Want(0, inf, ANYWHERE)] * (limit + more)
    assert starting(wants, Limits(pool=limit, queues=dict.fromkeys(QUEUES)), lost) == [None] * len(wants)
    one_left = simulate(wants, lost[:limit], Limits(pool=limit + 1, queues=dict.fromkeys(QUEUES)))
    assert one_left == simulate(wants, [], Limits(pool=1, queues=dict.fromkeys(QUEUES)))


@given(wants_of([ANYWHERE]), held_of([ANYWHERE]), st.integers(0, 5))
def test_a_larger_limit_never_makes_anybody_in_one_line_wait_longer(
    wants: list[Want], held: list[Want], limit: int
) -> None:
    fewer, more = (simulate(wants, held, Limits(pool=each)) for each in (limit, limit + 1))
    assert all(never(later) <= never(earlier) for earlier, later in zip(fewer, more, strict=True))


times = st.floats(-100, 100, allow_nan=False)
in_one_line = st.lists(st.builds(Want, times, st.floats(1, 100) | st.just(inf)), max_size=12)


@given(in_one_line, in_one_line, st.integers(0, 5))
def test_one_line_before_one_limit_is_only_a_shorter_way_to_the_same(
    wants: list[Want], held: list[Want], limit: int
) -> None:
    assert _first_come(wants, held, limit) == _Pool(wants, held, Limits(pool=limit)).run()


@given(wants_of(QUEUES), held_of(QUEUES), limits_anywhere(), st.data())
def test_only_when_somebody_asked_matters_and_not_who_was_written_down_first(
    wants: list[Want], held: list[Want], limits: Limits, data: st.DataObject
) -> None:
    apart = [replace(want, at=want.at + index / 100) for index, want in enumerate(wants)]
    order = data.draw(st.permutations(range(len(apart))))
    starts = simulate(apart, held, limits)
    assert simulate([apart[index] for index in order], held, limits) == [starts[index] for index in order]
