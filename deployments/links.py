"""Where in the UI a person looks."""

from collections.abc import Mapping

from prefect.settings import get_current_settings

from flows.prefect_api import Api

# The jobs whose reports a person opens first.
REPORTS = ("poolkeeper", "pool-inventory", "pool-preview", "pool-auto-pause", "pool-cleanup", "pool-reconcile")


def ui_address(api: Api) -> str:
    """The UI that belongs to the API: what the settings name, else the server itself."""
    named = get_current_settings().ui_url
    return (named or api.address.removesuffix("/api")).rstrip("/")


def run_link(api: Api, run_id: str) -> str:
    return f"{ui_address(api)}/runs/flow-run/{run_id}"


def links(api: Api, pages: Mapping[str, str] | None = None) -> dict[str, str]:
    """The pages to open first: the reports and what the keeper works on.

    `pages` has, by job, the id of a report's page; without one the link goes to all reports of the job.
    """
    ui, made = ui_address(api), pages or {}
    reports = {job: f"artifact/{made[job]}" if job in made else f"key/{job}" for job in REPORTS}
    return {
        **{job: f"{ui}/artifacts/{page}" for job, page in reports.items()},
        "deployments": f"{ui}/deployments",
        "work pools": f"{ui}/work-pools",
    }
