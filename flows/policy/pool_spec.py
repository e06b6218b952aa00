"""Pools as code: what a spec may say. What it does not name is not looked at."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from flows.policy.reconcile.notes import NOTE

# As Prefect's database keeps numbers.
LARGEST = 2**31 - 1
REFUSED = "/%&><"
RESERVED = "prefect"
# With the name, a variable remembers who created a work pool: it holds 5,000 characters of JSON.
LONGEST_NAME = 4_000


def _name(value: str) -> str:
    found = [character for character in REFUSED if character in value]
    if found:
        raise ValueError(f"the name holds {' '.join(found)}, which Prefect accepts in no name")
    if not value.strip("' \""):
        raise ValueError("the name is empty")
    return value


def _pool_name(value: str) -> str:
    if value.lower().startswith(RESERVED):
        raise ValueError(f"Prefect keeps names that begin with {RESERVED!r} for itself")
    if (length := len(json.dumps(value))) > LONGEST_NAME:
        raise ValueError(f"the name takes {length} characters of JSON; at most {LONGEST_NAME} can be remembered")
    return _name(value)


def _description(value: str) -> str:
    if NOTE.search(value):
        raise ValueError("holds a note that Poolkeeper writes itself and takes away again; leave it out")
    return value


Limit = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
Switch = Annotated[bool, Field(strict=True)]
Description = Annotated[str, AfterValidator(_description)]


class Part(BaseModel):
    """A part of a spec; `names` tells whether a key is written there."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def names(self, field: str) -> bool:
        return field in self.model_fields_set


class QueueSpec(Part):
    """A work queue. Of what is not named, nothing is looked at."""

    name: Annotated[str, AfterValidator(_name)]
    priority: Annotated[int, Field(strict=True, ge=1, le=LARGEST)] | None = None
    concurrency_limit: Limit | None = None
    description: Description | None = None
    is_paused: Switch = False


class TemplateSpec(Part):
    """A base job template: the worker type's default, with other defaults of its variables; a file; or written out."""

    default: Switch = False
    overrides: dict[str, Any] = Field(default={}, repr=False)
    file: str = ""
    inline: dict[str, Any] | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _is_one(self) -> "TemplateSpec":
        if self.default + bool(self.file) + (self.inline is not None) != 1:
            raise ValueError("is one of: default, {file: …}, {inline: {…}}, {default: true, overrides: {…}}")
        if self.overrides and not self.default:
            raise ValueError("overrides go with default: true")
        return self


class PoolSpec(Part):
    """A work pool. A null is a wish as well: no description, no limit."""

    name: Annotated[str, AfterValidator(_pool_name)]
    type: Annotated[str, Field(min_length=1)]
    description: Description | None = None
    concurrency_limit: Limit | None = None
    is_paused: Switch = False
    protected: Switch = False
    queues: list[QueueSpec] = []
    base_job_template: TemplateSpec | None = None

    @field_validator("base_job_template", mode="before")
    @classmethod
    def _default(cls, value: Any) -> Any:
        return {"default": True} if value == "default" else value


class Spec(Part):
    """Every work pool that is looked after."""

    version: Literal[1]
    default_concurrency_limit: Limit | None = None
    pools: list[PoolSpec] = []

    @field_validator("pools", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return [] if value is None else value


EMPTY = Spec(version=1)
