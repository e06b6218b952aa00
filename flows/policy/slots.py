"""Who gets a slot, and when: a work pool under its limits, simulated in plain seconds from now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from math import inf


class Gate(StrEnum):
    """Which concurrency limit a run waits for."""

    POOL = "work pool"
    QUEUE = "work queue"
    DEPLOYMENT = "deployment"


@dataclass(frozen=True, slots=True)
class Want:
    """A run that asks for a slot `at` so many seconds from now, to hold it for `seconds` (inf: for good)."""

    at: float
    seconds: float
    queue: str = ""
    deployment: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that apply; what is not named has none. `queues` lists queues by priority, most urgent first.

    `cancels` names deployments that cancel a run which finds their limit reached, instead of letting it wait.
    """

    pool: int | None = None
    queues: Mapping[str, int | None] = field(default_factory=dict)
    deployments: Mapping[str, int] = field(default_factory=dict)
    cancels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Start:
    """When a run gets its slot, in seconds from now (None: never), and the limit it first had to wait for."""

    at: float | None
    waited_for: Gate | None = None


def simulate(wants: Sequence[Want], held: Sequence[Want], limits: Limits) -> list[Start]:
    """What becomes of each want, with the slots that are `held` from the beginning taken first.

    Whoever waits gets a free slot in the order of the queues' priority, within a queue in the order of `at`.
    """
    if limits.deployments or any(limit is not None for limit in limits.queues.values()):
        return _Pool(wants, held, limits).run()
    if limits.pool is None:
        return [Start(max(0.0, want.at)) for want in wants]
    is_one_line = len({want.queue for want in wants}) <= 1
    return _first_come(wants, held, limits.pool) if is_one_line else _Pool(wants, held, limits).run()


def _first_come(wants: Sequence[Want], held: Sequence[Want], limit: int) -> list[Start]:
    """One line before one limit, which is most pools: as the simulation below, several times faster."""
    starts = [Start(None, Gate.POOL)] * len(wants)
    ends = sorted(holder.seconds for holder in held)
    now = 0.0
    for index in sorted(range(len(wants)), key=lambda index: (wants[index].at, index)):
        now = max(now, wants[index].at)
        while ends and ends[0] <= now:
            heappop(ends)
        waits = now > max(0.0, wants[index].at) or len(ends) >= limit
        while ends and len(ends) >= limit:
            now = heappop(ends)
        if now == inf or not limit:
            break
        starts[index] = Start(now, Gate.POOL if waits else None)
        heappush(ends, now + wants[index].seconds)
    return starts


class _Pool:
    """One simulated work pool, from the first want to the last slot given."""

    def __init__(self, wants: Sequence[Want], held: Sequence[Want], limits: Limits) -> None:
        self.wants, self.limits, self.starts = wants, limits, dict[int, Start]()
        self.arrivals = sorted(range(len(wants)), key=lambda index: (wants[index].at, index))
        self.gates: dict[int, Gate] = {}
        queues = dict.fromkeys([*limits.queues, *(want.queue for want in wants)], 0)
        self.waiting: dict[str, list[tuple[float, int]]] = {queue: [] for queue in queues}
        self.parked: dict[str, list[tuple[float, int]]] = {}
        self.ends: list[tuple[float, str, str]] = []
        self.used, self.used_by_queue, self.used_by_deployment = 0, queues, dict[str, int]()
        for holder in held:
            self._hold(holder, 0.0)

    def run(self) -> list[Start]:
        position = 0
        while position < len(self.arrivals) or (self.ends and self.ends[0][0] < inf and self._anyone_waits()):
            arrival = max(0.0, self.wants[self.arrivals[position]].at) if position < len(self.arrivals) else inf
            now = min(arrival, self.ends[0][0] if self.ends else inf)
            while self.ends and self.ends[0][0] <= now:
                self._release()
            came = position
            while position < len(self.arrivals) and max(0.0, self.wants[self.arrivals[position]].at) <= now:
                index = self.arrivals[position]
                heappush(self.waiting[self.wants[index].queue], (self.wants[index].at, index))
                position += 1
            self._give_slots(now)
            for index in self.arrivals[came:position]:
                if index not in self.starts and index not in self.gates:
                    self.gates[index] = Gate.POOL if self._is_full() else Gate.QUEUE
        return [self.starts.get(index) or Start(None, self.gates.get(index)) for index in range(len(self.wants))]

    def _anyone_waits(self) -> bool:
        return any(self.waiting.values()) or any(self.parked.values())

    def _is_full(self) -> bool:
        return self.limits.pool is not None and self.used >= self.limits.pool

    def _give_slots(self, now: float) -> None:
        for queue, waiting in self.waiting.items():
            limit = self.limits.queues.get(queue)
            while waiting and not self._is_full() and (limit is None or self.used_by_queue[queue] < limit):
                at, index = heappop(waiting)
                want = self.wants[index]
                most = self.limits.deployments.get(want.deployment)
                if most is None or self.used_by_deployment.get(want.deployment, 0) < most:
                    self.starts[index] = Start(now, self.gates.get(index))
                    self._hold(want, now)
                elif want.deployment in self.limits.cancels:
                    self.starts[index] = Start(None, Gate.DEPLOYMENT)
                else:
                    self.gates.setdefault(index, Gate.DEPLOYMENT)
                    heappush(self.parked.setdefault(want.deployment, []), (at, index))

    def _hold(self, want: Want, now: float) -> None:
        self.used += 1
        self.used_by_queue[want.queue] = self.used_by_queue.get(want.queue, 0) + 1
        self.used_by_deployment[want.deployment] = self.used_by_deployment.get(want.deployment, 0) + 1
        heappush(self.ends, (now + want.seconds, want.queue, want.deployment))

    def _release(self) -> None:
        _, queue, deployment = heappop(self.ends)
        self.used -= 1
        self.used_by_queue[queue] -= 1
        self.used_by_deployment[deployment] -= 1
        if parked := self.parked.get(deployment):
            at, index = heappop(parked)
            heappush(self.waiting[self.wants[index].queue], (at, index))
