"""What an answer of Prefect's API has to look like, at the least, before anything is made of it.

What cuts answers short, or answers in the server's place, is found here and not in the middle of a job.
"""

import re
from collections.abc import Callable
from typing import Any

THINGS = "artifacts|automations|block_documents|block_types|deployments|flow_runs|variables|work_pools"


def _is_count(answer: Any) -> bool:
    return isinstance(answer, int)


def _is_list(answer: Any) -> bool:
    return isinstance(answer, list) and all(isinstance(row, dict) for row in answer)


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda answer: isinstance(answer, dict) and any(name in answer for name in names)


# The first that fits counts.
SHAPES: tuple[tuple[re.Pattern[str], Callable[[Any], bool]], ...] = (
    (re.compile(r".*/count"), _is_count),
    (re.compile(r"/events/filter"), _has("events")),
    (re.compile(r".*/(filter|history)|/events/count-by/.*|/flow_run_states/.*"), _is_list),
    (re.compile(r"/flow_runs/bulk_delete"), _has("deleted")),
    (re.compile(r"/flow_runs/bulk_set_state"), _has("results")),
    # A thing, or what became of a change of its state.
    (re.compile(rf"/({THINGS})/.*"), _has("id", "status")),
)


QUESTION = re.compile(r".*/(count|filter|history)|/events/count-by/.*")


def is_question(path: str) -> bool:
    """Whether what is sent there only asks, whatever the method."""
    return QUESTION.fullmatch(path) is not None


def is_understood(path: str, answer: Any) -> bool:
    """Whether this can be an answer to what was asked there."""
    shape = next((shape for pattern, shape in SHAPES if pattern.fullmatch(path)), None)
    return shape is None or shape(answer)
