"""When something counts as failing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer in words. Too few runs is an answer of its own: neither failing nor well."""

    is_failing: bool
    is_enough: bool
    words: str


@dataclass(frozen=True, slots=True)
class FailureThreshold:
    """Failing means: at least `minimum_runs` ended in the window, and at least `failure_rate` (0 to 1) of them failed.

    Cancelled runs are not counted at all, neither as failed nor as finished.
    """

    failure_rate: float = 0.5
    minimum_runs: int = 10

    def judge(self, *, finished: int, failed: int) -> Judgement:
        if finished < max(1, self.minimum_runs):
            words = f"{finished} runs ended, too few to judge (at least {self.minimum_runs})"
            return Judgement(is_failing=False, is_enough=False, words=words)
        rate = failed / finished
        return Judgement(
            is_failing=rate >= self.failure_rate,
            is_enough=True,
            words=f"{failed} of {finished} runs failed ({rate:.0%}, threshold {self.failure_rate:.0%})",
        )
