"""Which work pools pool-reconcile has created, kept as variables: people read them on the Variables page."""

from pydantic import ValidationError
from slugify import slugify

from flows.policy.reconcile.facts import Created
from flows.prefect_api.client import AlreadyThere, Api, NotFound
from flows.prefect_api.paging import read_all

PREFIX = "poolkeeper_created"
LONGEST_SLUG = 80
VARIABLES = "/variables/"


async def read_created(api: Api) -> dict[str, Created]:
    """By the ids of the work pools. What somebody has changed beyond recognition is as good as forgotten."""
    query = {"variables": {"name": {"like_": f"{PREFIX}_"}}, "sort": "NAME_ASC"}
    found: dict[str, Created] = {}
    for row in await read_all(api, f"{VARIABLES}filter", query):
        if not row["name"].startswith(f"{PREFIX}_"):
            continue
        try:
            created = Created.model_validate(row["value"])
        except ValidationError:
            continue
        found[created.id] = created
    return found


async def remember_created(api: Api, created: Created) -> None:
    """Write it down, in the place of what was written of this work pool before."""
    name, value = _name(created), created.model_dump(mode="json")
    try:
        await api.write("POST", VARIABLES, {"name": name, "value": value, "tags": ["poolkeeper"]})
    except AlreadyThere:
        await api.write("PATCH", f"{VARIABLES}name/{name}", {"value": value})


async def forget_created(api: Api, created: Created) -> None:
    """Its work pool is gone."""
    try:
        await api.write("DELETE", f"{VARIABLES}name/{_name(created)}")
    except NotFound:
        return


def _name(created: Created) -> str:
    slug = slugify(created.pool, max_length=LONGEST_SLUG) or "unnamed"
    return f"{PREFIX}_{slug}_{created.id[:8]}"
