"""Whatever is typed into a form or a spec, and whatever an API answers: a model or a clear error, and nothing else."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prefect.exceptions import ParameterTypeError
from pydantic import BaseModel, ValidationError

from flows.policy.auto_pause import decide_circuits
from flows.policy.bad_input import BadInput
from flows.policy.circuit import Gate
from flows.policy.cleanup.caps import Caps, CleanupLimit
from flows.policy.cleanup.kinds import KINDS, CleanupKind, Found
from flows.policy.cleanup.pace import Pace
from flows.policy.cleanup.retention import Retention
from flows.policy.failure_threshold import FailureThreshold, Tally
from flows.policy.lifecycle.request import DeleteOptions, LifecycleLimit, Request
from flows.policy.plan import ActionLimit, Kind, UnsafePlan, Verb
from flows.policy.recovery import Recovery
from flows.policy.watched import AutoPauseFacts, Watched, WatchedPool
from flows.prefect_api import ApiProblem, finished_runs, late_runs, waiting, work_pools
from flows.prefect_api.answers import is_understood
from flows.prefect_api.client import decode
from flows.prefect_api.flow_runs import run_facts
from flows.spec_file import SpecFile, read_spec
from tests.builders import ago
from tests.circuits import auto_pause_facts, gate, pool_target, rules
from tests.cleanup import decide, of_rule
from tests.faults.jobs import flow
from tests.specs import pool_specs
from tests.strategies import names, texts

MODELS: tuple[type[BaseModel], ...] = (
    FailureThreshold, Recovery, ActionLimit, Retention, Caps, CleanupLimit, Pace, DeleteOptions, LifecycleLimit,
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
NUMBERS = st.integers(-(10**20), 10**20) | st.floats() | st.sampled_from(["3", "true", "", "1e400", "NaN", " 7 "])

# --- Forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@given(data=st.data())
def test_a_parameter_is_a_valid_model_or_is_refused(model: type[BaseModel], data: st.DataObject) -> None:
    fields = st.dictionaries(st.sampled_from(sorted(model.model_fields)) | texts, NUMBERS | JSON, max_size=4)
    value = data.draw(fields | JSON)
    try:
        made = model.model_validate(value)
    except ValidationError:
        return
    assert model.model_validate(made.model_dump()) == made


@pytest.mark.parametrize("entry", ["inventory", "preview", "auto_pause", "cleanup", "lifecycle", "reconcile"])
@given(data=st.data())
def test_what_is_typed_into_a_form_is_taken_or_refused(entry: str, data: st.DataObject) -> None:
    known = sorted(flow(entry).parameters.properties)
    required = {"action": "pause", "pool": "etl", "reason": "x"} if entry == "lifecycle" else {}
    values = NUMBERS | JSON | st.lists(names, max_size=2)
    typed = data.draw(st.dictionaries(st.sampled_from(known), values, max_size=3))
    try:
        taken = flow(entry).validate_parameters(required | typed)
    except (ParameterTypeError, ValidationError):
        return
    assert taken.keys() >= typed.keys()


@given(st.data())
def test_a_request_by_hand_makes_sense_or_says_what_does_not(data: st.DataObject) -> None:
    actions = st.sampled_from(["pause", "resume", "drain", "set-concurrency-limit", "delete", "restore"])
    asked = data.draw(
        st.builds(
            Request, action=actions, pool=texts, reason=texts, actor=texts, expires_minutes=st.none() | st.floats(1, 9),
            backlog=st.sampled_from(["keep", "latest", "drop"]), concurrency_limit=st.none() | st.integers(0, 9),
        )
    )  # fmt: skip
    try:
        asked.check()
    except BadInput as problem:
        assert str(problem).endswith("Nothing was done.")  # noqa: PT017 - it may also make sense


# --- Specs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("specs")


def is_read_or_refused(folder: Path, text: str) -> None:
    path = folder / f"{uuid4().hex[:8]}.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        assert isinstance(read_spec(str(path)), SpecFile)
    except BadInput as problem:
        assert str(problem).startswith("Spec ")  # noqa: PT017 - it may also be read
        assert "Nothing was changed" in str(problem)  # noqa: PT017 - as above
    path.unlink()


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("ab:-[]{}\n \t&*!|>'\"#%@,?~0", max_size=60))
def test_any_text_is_a_spec_or_is_refused(folder: Path, text: str) -> None:
    is_read_or_refused(folder, text)


@given(JSON | st.fixed_dictionaries({"version": st.just(1), "pools": st.lists(JSON, max_size=3)}))
def test_any_document_is_a_spec_or_is_refused(folder: Path, document: Any) -> None:
    is_read_or_refused(folder, yaml.safe_dump(document))


@given(st.lists(pool_specs(), max_size=3), st.data())
def test_a_spec_with_anything_somewhere_in_it_is_read_or_refused(folder: Path, pools: Any, data: st.DataObject) -> None:
    for pool in pools:
        where = data.draw(st.sampled_from([*sorted(pool), "type", "queues", "base_job_template"]))
        pool["type"] = "process"
        pool[where] = data.draw(JSON)
    is_read_or_refused(folder, yaml.safe_dump({"version": 1, "pools": pools}))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_spec_or_are_refused(folder: Path, content: bytes) -> None:
    path = folder / "bytes.yaml"
    path.write_bytes(content)
    with suppress(BadInput):
        read_spec(str(path))


# --- Answers ------------------------------------------------------------------------------------------------------

IDS = st.uuids().map(str)
TIMES = st.datetimes().map(lambda at: f"{at.isoformat()}Z")
COUNTS = st.none() | st.integers(0, 10**6)
STATUS = st.none() | st.sampled_from(["READY", "NOT_READY", "PAUSED", "A_NEW_ONE"])
POOLS = st.fixed_dictionaries(
    {
        "id": IDS, "name": names, "type": texts, "is_paused": st.booleans(), "concurrency_limit": COUNTS,
        "description": st.none() | texts, "base_job_template": st.none() | st.dictionaries(texts, JSON, max_size=3),
        "created": TIMES, "updated": TIMES, "status": STATUS, "something new": JSON,
    }
)  # fmt: skip
QUEUES = st.fixed_dictionaries(
    {
        "id": IDS, "name": names, "work_pool_name": names, "is_paused": st.booleans(), "priority": st.integers(1, 99),
        "concurrency_limit": COUNTS, "status": STATUS, "last_polled": st.none() | TIMES,
    }
)  # fmt: skip
WORKERS = st.fixed_dictionaries(
    {"id": IDS, "name": names, "last_heartbeat_time": st.none() | TIMES, "heartbeat_interval_seconds": COUNTS}
)
RUNS = st.fixed_dictionaries(
    {
        "id": IDS, "name": names, "state_type": st.sampled_from(["SCHEDULED", "RUNNING", "COMPLETED", "A_NEW_ONE"]),
        "state_name": texts, "state_id": IDS, "created": TIMES, "end_time": st.none() | TIMES,
        "expected_start_time": st.none() | TIMES, "next_scheduled_start_time": st.none() | TIMES,
        "tags": st.lists(names, max_size=2), "work_pool_name": st.none() | names, "work_queue_id": st.none() | IDS,
        "deployment_id": st.none() | IDS, "auto_scheduled": st.booleans(), "run_count": st.integers(0, 9),
        "state": st.none() | st.fixed_dictionaries({"timestamp": st.none() | TIMES}),
    }
)  # fmt: skip
ROWS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], Any]]] = {
    "work pool": (POOLS, work_pools._pool),
    "work queue": (QUEUES, work_pools._queue),
    "worker": (WORKERS, lambda row: work_pools._worker(row, "etl")),
    "run": (RUNS, run_facts),
    "ended run": (RUNS, finished_runs._finished_run),
    "late run": (RUNS, late_runs._late_run),
    "waiting run": (RUNS, waiting._waiting_run),
}


@pytest.mark.parametrize("what", ROWS)
@given(data=st.data())
def test_an_answer_as_the_schema_has_it_is_understood_or_named(what: str, data: st.DataObject) -> None:
    rows, make = ROWS[what]
    row = data.draw(rows)
    for name in data.draw(st.lists(st.sampled_from(sorted(row)), max_size=1)):
        row[name] = data.draw(JSON)
    try:
        decode([row], what, make)
    except ApiProblem as problem:
        assert what in str(problem)  # noqa: PT017 - it may also be understood
        assert "poolkeeper doctor" in str(problem)  # noqa: PT017 - as above


PATHS = ("/work_pools/filter", "/flow_runs/count", "/events/filter", "/work_pools/etl", "/flow_runs/bulk_delete", "/x")


@given(st.sampled_from(PATHS), JSON)
def test_any_answer_is_taken_for_what_it_can_be(path: str, answer: Any) -> None:
    if is_understood(path, answer) and path.endswith("filter") and not path.startswith("/events"):
        assert isinstance(answer, list)


# --- What is decided ----------------------------------------------------------------------------------------------


@st.composite
def found(draw: st.DrawFn) -> dict[CleanupKind, Found]:
    """What rules may find: the same targets as others, none of their own twice."""
    kinds = draw(st.lists(st.sampled_from(KINDS), unique=True))
    verbs = st.sampled_from([Verb.LEAVE, Verb.DELETE, Verb.CANCEL])
    targets = st.lists(st.sampled_from("abcdef"), unique=True)
    return {
        kind: Found(
            tuple(of_rule(kind, name, draw(verbs)) for name in draw(targets)),
            draw(st.dictionaries(st.sampled_from(["in use", "young"]), st.integers(1, 9))),
        )
        for kind in kinds
    }


@given(found(), st.integers(0, 4), st.integers(0, 12))
def test_a_cleanup_says_one_thing_of_each_target_and_keeps_its_caps(
    there: dict[CleanupKind, Found], cap: int, most: int
) -> None:
    caps = Caps(**{kind.replace("-", "_"): cap for kind in KINDS})
    decision = decide(there, caps=caps, limit=ActionLimit(max_actions=most, max_share=1.0))
    targets = [each.target for each in decision.plan.verdicts]
    assert len(targets) == len(set(targets))
    assert {each.target for found in there.values() for each in found.verdicts} >= set(targets)
    assert len(decision.plan.actions) <= cap * len(there)
    try:
        decision.check()
    except UnsafePlan:
        assert len(decision.plan.actions) > most
    else:
        assert len(decision.plan.actions) <= most


@st.composite
def fleets(draw: st.DrawFn) -> AutoPauseFacts:
    """Work pools of which any number fail, some of them paused by people, some protected."""
    pools = []
    for name in draw(st.lists(st.sampled_from("abcdefgh"), unique=True)):
        finished = draw(st.integers(0, 40))
        failed = draw(st.integers(0, finished))
        its: Gate = gate(pool_target(name), is_paused=draw(st.booleans()), limit=draw(st.none() | st.integers(0, 5)))
        tally = draw(st.none() | st.just(Tally(finished, failed)))
        pools.append(WatchedPool(Watched(its, failed=failed, last_failed_at=ago(minutes=1), tally=tally)))
    protected = frozenset(draw(st.lists(st.sampled_from("abc"))))
    return auto_pause_facts(*pools, protected=protected)


@given(fleets(), st.floats(0, 1), st.integers(0, 9))
def test_auto_pause_says_one_thing_of_each_pool_and_never_touches_a_persons_or_a_protected_one(
    facts: AutoPauseFacts, share: float, most: int
) -> None:
    limit = ActionLimit(max_actions=most, max_share=share)
    decision = decide_circuits(facts, rules(), limit)
    verdicts = {each.target.name: each.verb for each in decision.plan.verdicts if each.target.kind is Kind.POOL}
    assert sorted(verdicts) == sorted(pool.own.gate.target.name for pool in facts.pools)
    for pool in facts.pools:
        its = pool.own.gate
        if its.is_paused or its.target.name in facts.protection.pools:
            assert verdicts[its.target.name] is Verb.LEAVE
        if pool.own.tally is None or pool.own.tally.failed < pool.own.tally.finished / 2:
            assert verdicts[its.target.name] is Verb.LEAVE
    if sum(verb is Verb.PAUSE for verb in verdicts.values()) > most:
        assert decision.incident
