"""How old what is left behind is: since it ended, was due, changed its state, or was last heard of."""

from datetime import timedelta

from flows.policy.plan import Verdict

# What a rule's numbers say of age, and in what unit.
SAID = {
    "ended_days": timedelta(days=1),
    "silent_hours": timedelta(hours=1),
    "late_minutes": timedelta(minutes=1),
    "minutes_in_state": timedelta(minutes=1),
    "overdue_minutes": timedelta(minutes=1),
}
# Ages up to so many days are told together, those above the last as well.
DAYS = (1, 7, 30, 90)
AGES = ("under 1 d", "1 to 7 d", "7 to 30 d", "30 to 90 d", "over 90 d")


def age_of(verdict: Verdict) -> timedelta | None:
    """The age of what a verdict is about; None where its rule asks for none."""
    for name, unit in SAID.items():
        number = verdict.numbers.get(name)
        if isinstance(number, int | float):
            return number * unit
    return None


def told_age(verdict: Verdict) -> str | None:
    """Which of the `AGES` it is."""
    age = age_of(verdict)
    if age is None:
        return None
    return AGES[sum(age >= timedelta(days=days) for days in DAYS)]
