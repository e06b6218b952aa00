"""Specs as files: YAML read with the line of everything in it, and written so that it reads back the same.

What is wrong is told by file, line and key, never by what is written there: a template may hold a password.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flows.policy.bad_input import BadInput
from flows.policy.pool_spec import EMPTY, Spec, TemplateSpec
from flows.policy.reconcile.problems import Place, SpecProblem, find_repeated, read_problems
from flows.policy.words import counted

# The parser in C reads megabytes in seconds; the one in Python takes minutes.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LARGEST_FILE = 20_000_000
# Written out, with what anchors repeat.
MOST_NODES = 1_000_000
DEEPEST = 60
SHOWN = 10
MERGE, TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"


class Unreadable(Exception):
    """A file that is not what it should be: in words, and where."""

    def __init__(self, problem: SpecProblem, line: int | None = None) -> None:
        super().__init__(problem.words)
        self.problem, self.line = problem, line


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A spec, the path that it is known by, and the line of each place in it."""

    path: str
    spec: Spec
    lines: Mapping[Place, int] = field(default_factory=dict, repr=False)

    def check(self, problems: Sequence[SpecProblem]) -> None:
        """Raise `BadInput` where there are problems."""
        if problems:
            raise refusal(self.path, problems, self.lines)


def read_spec(path: str) -> SpecFile:
    """The spec in a file, with the templates that it takes from other files; `BadInput` for anything wrong in them."""
    known_by = os.path.normpath(os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path)
    try:
        text = _text(Path(path))
        value, lines = _parsed(text)
    except Unreadable as problem:
        where = {} if problem.line is None else {problem.problem.place: problem.line}
        raise refusal(known_by, [problem.problem], where) from None
    if value is None:
        return SpecFile(known_by, EMPTY)
    if not isinstance(value, dict):
        raise refusal(known_by, [SpecProblem((), "a spec is a mapping with version and pools")], lines)
    try:
        spec = Spec.model_validate(value)
    except ValidationError as problem:
        raise refusal(known_by, read_problems(problem), lines) from None
    written = SpecFile(known_by, spec, lines)
    written.check(find_repeated(spec))
    return _with_files(written, Path(path).parent)


def written_spec(document: Mapping[str, Any], header: str) -> str:
    """YAML that reads back as this document, below comments."""
    comments = "".join(f"# {line}\n" for line in header.splitlines())
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 120}
    return comments + str(yaml.dump(dict(document), Dumper=_Plain, **options))


class _Plain(yaml.SafeDumper):
    """Writes everything out: no anchors."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def refusal(path: str, problems: Sequence[SpecProblem], lines: Mapping[Place, int]) -> BadInput:
    """What is wrong with a spec, in one message."""
    told = [f"{_where(problem.place, lines)}{problem.words}" for problem in problems[:SHOWN]]
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    said = f"{counted(len(problems), 'problem')}: " if len(problems) > 1 else ""
    return BadInput(
        f"Spec {path!r}: {said}{'; '.join(told)}{more}. Nothing was changed. Correct the spec, and run again."
    )


def _where(place: Place, lines: Mapping[Place, int]) -> str:
    """`line 7, pools[1].type: `; the line of what it stands in, where it is not written itself."""
    known = next((place[:end] for end in range(len(place), -1, -1) if place[:end] in lines), None)
    shown = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in place).removeprefix(".")
    parts = [*([f"line {lines[known]}"] if known is not None else []), *([shown] if shown else [])]
    return f"{', '.join(parts)}: " if parts else ""


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise Unreadable(SpecProblem((), f"larger than {LARGEST_FILE:,} bytes"))
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        words = f"there is no such file (looked for {str(path.absolute())!r})"
        raise Unreadable(SpecProblem((), words)) from None
    except UnicodeDecodeError:
        raise Unreadable(SpecProblem((), "is not text in UTF-8")) from None
    except (OSError, ValueError) as problem:
        words = f"cannot be read ({getattr(problem, 'strerror', None) or type(problem).__name__})"
        raise Unreadable(SpecProblem((), words)) from None


def _parsed(text: str) -> tuple[Any, dict[Place, int]]:
    """What a YAML text says, and the line of each place in it. `Unreadable` where it says nothing that JSON can."""
    lines: dict[Place, int] = {}
    try:
        loader = LOADER(text)
        node = loader.get_single_node()
        if node is None:
            return None, lines
        _walk(node, (), (), lines, count())
        value = loader.construct_document(node)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
        what = SpecProblem((), "cannot be read as YAML" + (f" at column {mark.column + 1}" if mark else ""))
        raise Unreadable(what, mark.line + 1 if mark else None) from None
    except RecursionError:
        raise Unreadable(SpecProblem((), "is nested too deeply")) from None
    except ValueError:
        raise Unreadable(SpecProblem((), "holds a date or number that there is not; put it in quotes")) from None
    for place in _no_json(value, ()):
        raise Unreadable(SpecProblem(place, "holds what JSON cannot; put it in quotes"), _line(place, lines))
    return value, lines


def _walk(
    node: yaml.Node, place: Place, above: tuple[yaml.Node, ...], lines: dict[Place, int], nodes: Iterator[int]
) -> None:
    """Note down the lines, and refuse what a reader of the file would not expect."""
    lines.setdefault(place, node.start_mark.line + 1)
    if node in above or len(above) > DEEPEST or next(nodes) > MOST_NODES:
        words = "repeats itself" if node in above else "is nested too deeply, or repeats too much"
        raise Unreadable(SpecProblem(place, words), node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, each in enumerate(node.value):
            _walk(each, (*place, index), (*above, node), lines, nodes)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.tag != MERGE:
                _check_key(key, place, seen)
            _walk(value, place if key.tag == MERGE else (*place, key.value), (*above, node), lines, nodes)


def _check_key(key: yaml.Node, place: Place, seen: set[str]) -> None:
    line = key.start_mark.line + 1
    if not isinstance(key, yaml.ScalarNode) or key.tag != TEXT:
        raise Unreadable(SpecProblem(place, "a key that is not text; put it in quotes"), line)
    if key.value in seen:
        raise Unreadable(SpecProblem((*place, key.value), "the same key stands above"), line)
    seen.add(key.value)


def _no_json(value: Any, place: Place) -> Iterator[Place]:
    """Where something stands that JSON, or Prefect's database, cannot hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if next(_no_json(key, place), None) is not None:
                yield place
            yield from _no_json(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _no_json(inner, (*place, index))
    elif isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            yield place
    elif not isinstance(value, bool | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
        yield place


def _line(place: Place, lines: Mapping[Place, int]) -> int | None:
    return next((lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in lines), None)


def _with_files(written: SpecFile, folder: Path) -> SpecFile:
    """With each template that stands in a file of its own, beside the spec, in the place of that file's name."""
    pools, problems = [], []
    for index, pool in enumerate(written.spec.pools):
        template = pool.base_job_template
        if template is None or not template.file:
            pools.append(pool)
            continue
        try:
            inline = TemplateSpec(inline=_template(folder / template.file))
            pools.append(pool.model_copy(update={"base_job_template": inline}))
        except Unreadable as problem:
            line = "" if problem.line is None else f", line {problem.line}"
            place = ("pools", index, "base_job_template", "file")
            problems.append(SpecProblem(place, f"{template.file!r}{line}: {problem}"))
    written.check(problems)
    return SpecFile(written.path, written.spec.model_copy(update={"pools": pools}), written.lines)


def _template(path: Path) -> dict[str, Any]:
    text = _text(path)
    value = _json(text) if path.suffix == ".json" else _parsed(text)[0]
    if not isinstance(value, dict):
        raise Unreadable(SpecProblem((), "a base job template is a mapping"))
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable(SpecProblem((), "holds a key twice in one object"))
    return found


def _json(text: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_each_once)
    except json.JSONDecodeError as problem:
        raise Unreadable(SpecProblem((), "cannot be read as JSON"), problem.lineno) from None
    except RecursionError:
        raise Unreadable(SpecProblem((), "is nested too deeply")) from None
    for place in _no_json(value, ()):
        raise Unreadable(SpecProblem((), f"holds what Prefect cannot keep at {'.'.join(map(str, place))}"))
    return value
