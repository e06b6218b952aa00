"""Tests are claims. What decides is tested by properties; what talks to Prefect, against a real server."""

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, not about the rule.
settings.register_profile("poolkeeper", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("poolkeeper")
