"""In whose time a report tells times."""

from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from flows.policy.bad_input import BadInput


class UnknownTimezone(BadInput):
    """A name that no time zone has."""


def time_zone(name: str) -> ZoneInfo:
    """The time zone of that name in the IANA database, such as `Europe/Berlin`; `UnknownTimezone` if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        nearest = get_close_matches(name, sorted(available_timezones()), n=1, cutoff=0)
        hint = f" The nearest name is {nearest[0]!r}." if nearest else ""
        raise UnknownTimezone(
            f"No time zone is named {name!r} (parameter 'timezone').{hint} Nothing was done. "
            "Use a name of the IANA database, such as 'UTC' or 'Europe/Berlin'."
        ) from None
