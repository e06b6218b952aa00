from datetime import timedelta
from math import inf

from flows.policy.forecast import expect
from flows.policy.slots import simulate
from tests.builders import NOW, ago, coming, demand, deployment, queue, run, state, upcoming, zombie

MINUTE = timedelta(minutes=1)


def test_no_start_is_told_where_the_two_simulations_differ_even_if_the_worse_one_lets_it_start_earlier() -> None:
    """Of two slots one is held for nobody knows how long. If it comes free at once, two long runs take both slots just
    before the urgent run asks; if not, the urgent run is the first to get the other slot."""
    queues = (queue("urgent", priority=1), queue("slow", priority=9))
    there = state(of={"concurrency_limit": 2}, queues=queues, active=(run(deployment_id=None),))
    short = [upcoming(f"s{n}", due_at=NOW, queue_id="id-etl-slow") for n in (1, 2)]
    long = [
        upcoming(f"x{n}", due_at=coming(seconds=1), queue_id="id-etl-slow", deployment_id="id-long") for n in (1, 2)
    ]
    urgent = upcoming("urgent", due_at=coming(seconds=130), queue_id="id-etl-urgent")
    asked = demand(*short, *long, urgent, there=there, took={"flow/nightly": [120], "long": [6000]})
    best = simulate(asked.wants(asked.runs), asked.held(), asked.limits)[-1].at
    worst = simulate(asked.wants(asked.runs, unknown=inf), asked.held(unknown=inf), asked.limits)[-1].at
    assert (best, worst) == (6120, 240)
    assert expect(asked)[-1].expected_start_at is None


def test_a_run_that_never_gets_a_slot_of_the_pool_is_not_said_to_be_cancelled() -> None:
    for limit in (None, 1):
        cancels = deployment(pool="etl", limit=limit, cancels=True)
        there = state(of={"concurrency_limit": 1}, active=(zombie(),))
        (found,) = expect(demand(upcoming(), there=there, deployments=[cancels]))
        assert "cancelled" not in found.reason
        assert "lost (Pending" in found.reason


def test_a_late_run_is_not_told_at_once_that_a_limit_is_reached_and_that_nothing_is_in_its_way() -> None:
    full = deployment(pool="etl", limit=1, active=1)
    (found,) = expect(demand(upcoming(due_at=ago(minutes=3)), deployments=[full]))
    assert not ("is reached" in found.reason and "nothing is in its way" in found.reason)
