"""Where in the UI a person looks."""

from prefect.settings import get_current_settings

from flows.prefect_api import Api


def ui_address(api: Api) -> str:
    """The UI that belongs to the API: what the settings name, else the server itself."""
    named = get_current_settings().ui_url
    return (named or api.address.removesuffix("/api")).rstrip("/")


def run_link(api: Api, run_id: str) -> str:
    return f"{ui_address(api)}/runs/flow-run/{run_id}"


def links(api: Api, report_id: str = "") -> dict[str, str]:
    """The pages to open first; with the id of a report, that report and not only its history."""
    ui = ui_address(api)
    report = f"artifact/{report_id}" if report_id else "key/pool-inventory"
    return {
        "report": f"{ui}/artifacts/{report}",
        "deployments": f"{ui}/deployments",
        "work pools": f"{ui}/work-pools",
    }
