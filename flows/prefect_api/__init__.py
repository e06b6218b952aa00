"""The only code that talks to Prefect's API. Prefect's objects stop here: what leaves is facts."""

from flows.prefect_api.client import Api, ApiProblem, NotFound, Refused, Unreachable, connect

__all__ = ["Api", "ApiProblem", "NotFound", "Refused", "Unreachable", "connect"]
