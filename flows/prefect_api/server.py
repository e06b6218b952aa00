"""What a server says about itself."""

from flows.prefect_api.client import Api, ApiProblem, Garbled, NotFound


async def read_version(api: Api) -> str | None:
    """The server's Prefect version, which also proves that it accepts the credentials; None on Prefect Cloud."""
    if api.is_cloud:
        await api.read("/work_pools/count", {})
        return None
    try:
        return str(await api.read("/admin/version"))
    except (NotFound, Garbled):
        raise ApiProblem(
            f"What answers at {api.address} is not Prefect's API, whose address usually ends in /api. "
            "Check PREFECT_API_URL."
        ) from None
