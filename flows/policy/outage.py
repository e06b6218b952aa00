"""Too much failing at once is not many failures but one: a common outage, in which pausing pools helps nobody."""

from collections.abc import Mapping

from flows.policy.plan import SHARE_JUDGED_FROM, ActionLimit, Kind


def find_outage(
    openings: Mapping[Kind, int], failing: Mapping[Kind, int], there: Mapping[Kind, int], limit: ActionLimit
) -> str:
    """Why nothing is to be paused, where `openings`, what would be paused now, go over the limit; else "".

    `failing` is what fails at once: these, those that fail elsewhere on the server, and those that are paused for it
    already. `there` is how many there are. What only ends a pause is never limited.
    """
    planned = sum(openings.values())
    if planned > limit.max_actions:
        return (
            f"pool-auto-pause would pause {planned} things; at most {limit.max_actions} are allowed at once "
            "(limit.max_actions). Nothing was paused. Look for what they have in common; if it is right to pause "
            "them, raise the limit and run again."
        )
    for kind, count in failing.items():
        total = there.get(kind, 0)
        # Rounded, so that 0.58 of 50 is 29 and not a hair less.
        if openings.get(kind) and total >= SHARE_JUDGED_FROM and count > round(limit.max_share * total, 6):
            what = "work pools" if kind is Kind.POOL else f"{kind}s"
            return (
                f"{count} of {total} {what} fail at once, more than a share of {limit.max_share:g} "
                "(limit.max_share): a common outage. Nothing was paused. Look for what they have in common: a "
                "database, a network, a credential, a release."
            )
    return ""
