"""Which requests a fault hits."""

from collections.abc import Callable, Sequence

from tests.faults.wire import Request

# What is wrong with a request: the name of a fault, or "".
Choose = Callable[[Request], str]


def nothing(_request: Request) -> str:
    return ""


def at_write(number: int, fault: str) -> Choose:
    return lambda request: fault if request.is_write and request.number == number else ""


def at_read(number: int, fault: str) -> Choose:
    return lambda request: fault if request.is_read and request.number == number else ""


def from_write_on(number: int, fault: str) -> Choose:
    """The server stays like that, for reads as well, from this write on."""
    broken: list[Request] = []

    def choose(request: Request) -> str:
        if request.is_write and request.number == number:
            broken.append(request)
        return fault if broken else ""

    return choose


def at_first(path: str, fault: str) -> Choose:
    """The first request of this path; the next ones are answered."""
    hit: list[Request] = []

    def choose(request: Request) -> str:
        if request.path != path or hit:
            return ""
        hit.append(request)
        return fault

    return choose


def sample(numbers: Sequence[int], most: int) -> list[int]:
    """So many of these, spread over all of them, with the first and the last."""
    if len(numbers) <= most:
        return list(numbers)
    return sorted({numbers[round(at * (len(numbers) - 1) / (most - 1))] for at in range(most)})
