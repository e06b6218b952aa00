"""The worker types that are known, with the base job template that each gives a new work pool."""

from collections.abc import Iterator, Mapping
from typing import Any

from prefect.workers.base import BaseWorker

from flows.policy.reconcile.facts import Template
from flows.prefect_api.client import Api, ApiProblem

# What Prefect Cloud knows, and what a server of one's own does.
CLOUD_VIEW, SERVER_VIEW = "/collections/work_pool_types", "/collections/views/aggregate-worker-metadata"


async def read_defaults(api: Api) -> dict[str, tuple[Template, ...]]:
    """The default templates of each worker type, first the one that `prefect work-pool create` would take.

    That is the one of the worker that is installed here. Prefect's UI takes the one that the server knows, which means
    the same and is written otherwise.
    """
    known = _known(await api.read(CLOUD_VIEW if api.is_cloud else SERVER_VIEW))
    installed = {name: _installed(name) for name in BaseWorker.get_all_available_worker_types()}
    found: dict[str, tuple[Template, ...]] = {}
    for name in sorted({*known, *installed}):
        templates = [each for each in (installed.get(name), known.get(name)) if each is not None]
        found[name] = tuple(templates)
    return found


def _installed(name: str) -> Template | None:
    worker = BaseWorker.get_worker_class_from_type(name)
    template: Template | None = worker.get_default_base_job_template() if worker is not None else None
    return template


def _known(view: Any) -> dict[str, Template]:
    """By type, from the packages that the server lists."""
    try:
        return dict(_types(view))
    except (KeyError, TypeError, AttributeError):
        raise ApiProblem(
            "Prefect's API described its worker types in a way that is not understood. Compare the versions of client "
            "and server with 'poolkeeper doctor'."
        ) from None


def _types(view: Mapping[str, Any]) -> Iterator[tuple[str, Template]]:
    for package in view.values():
        for worker in package.values():
            if isinstance(worker.get("default_base_job_configuration"), dict):
                yield worker["type"], worker["default_base_job_configuration"]
