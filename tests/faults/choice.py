"""Which requests a fault hits."""

import re
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


def at_path(method: str, pattern: str, fault: str) -> Choose:
    return lambda each: fault if each.method == method and re.fullmatch(pattern, each.path) else ""


def sample(numbers: Sequence[int], most: int) -> list[int]:
    """So many of these, spread over all of them, with the first and the last."""
    if len(numbers) <= most:
        return list(numbers)
    return sorted({numbers[round(at * (len(numbers) - 1) / (most - 1))] for at in range(most)})
