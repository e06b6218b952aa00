"""Templates beside each other: where they differ, what is wanted, and what becomes of secrets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.pool_spec import TemplateSpec
from flows.policy.protection import Protection
from flows.policy.reconcile.export import export_pools
from flows.policy.reconcile.facts import TemplateProblem
from flows.policy.reconcile.left_out import LEFT_OUT, kept, without_secrets
from flows.policy.reconcile.pools import template_paths
from flows.policy.reconcile.templates import differing, wanted_templates
from flows.policy.redaction import plain_secrets, secret_places
from tests.policy.test_redaction import SHIPPED
from tests.specs import DEFAULT, OTHER, there
from tests.strategies import CANARY, templates_with_canary, values

json_values = values(st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3))


@given(json_values)
def test_nothing_differs_from_itself_whatever_the_order_of_its_keys(value: Any) -> None:
    turned = json.loads(json.dumps(value), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert list(differing(value, turned)) == []


@given(json_values, json_values)
def test_two_differ_alike_from_both_sides(one: Any, other: Any) -> None:
    assert list(differing(one, other)) == list(differing(other, one))


@pytest.mark.parametrize(("one", "other"), [(True, 1), (0, False), ("1", 1), ([], None), ({}, None), ([1], [1, 1])])
def test_what_only_looks_alike_differs(one: Any, other: Any) -> None:
    assert list(differing({"a": one}, {"a": other})) == ["a"]


def test_a_null_is_as_good_as_nothing_and_a_number_is_a_number() -> None:
    assert list(differing({"a": None, "b": 1}, {"b": 1.0})) == []


@given(templates_with_canary(), templates_with_canary())
def test_where_two_differ_is_told_without_any_value(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert CANARY not in " ".join(template_paths((one,), other))


@given(templates_with_canary())
def test_without_its_secrets_none_is_found_in_a_template_and_put_back_it_is_as_before(template: dict[str, Any]) -> None:
    marked, secrets = without_secrets(template)
    assert (secrets > 0) is bool(plain_secrets(template))
    assert str(marked).count(LEFT_OUT) == secrets
    assert kept(marked, template) == template


@given(st.sampled_from(sorted(SHIPPED)), st.data())
def test_what_is_exported_of_a_shipped_template_with_anything_in_it_means_the_same(
    kind: str, data: st.DataObject
) -> None:
    template = json.loads(json.dumps(SHIPPED[kind]))
    properties = template["variables"]["properties"]
    for name in data.draw(st.lists(st.sampled_from(sorted(properties)), max_size=3)):
        properties[name]["default"] = data.draw(values(st.none() | st.sampled_from([CANARY, "x", 1, True, LEFT_OUT])))
    template["job_configuration"] |= data.draw(
        st.dictionaries(
            st.sampled_from(["env", "DB_PASSWORD", "new"]), values(st.sampled_from([CANARY, 1])), max_size=2
        )
    )
    pool = there(type=kind, template=template)
    (exported,) = export_pools({"etl": pool}, {kind: (SHIPPED[kind],)}, Protection()).pools
    written = exported.written["base_job_template"]
    read = TemplateSpec(default=True) if written == "default" else TemplateSpec.model_validate(written)
    wanted = wanted_templates(read, kind, (SHIPPED[kind],), template)
    assert template_paths(wanted, template) == ()
    assert exported.secrets == (0 if written == "default" else len(secret_places(template)))


def test_environment_variables_in_a_list_keep_their_secrets_by_name() -> None:
    has = {"env": [{"name": "A_TOKEN", "value": "one"}, {"name": "B_TOKEN", "value": "two"}]}
    wanted = {"env": [{"name": "B_TOKEN", "value": LEFT_OUT}, {"name": "A_TOKEN", "value": LEFT_OUT}]}
    assert kept(wanted, has) == {"env": list(reversed(has["env"]))}
    with pytest.raises(TemplateProblem, match=r"at env\.0\.value a secret was left out"):
        kept({"env": [{"name": "C_TOKEN", "value": LEFT_OUT}]}, has)


def test_two_of_one_name_keep_their_own_secrets() -> None:
    has = {"env": [{"name": "A_TOKEN", "value": "one"}, {"name": "A_TOKEN", "value": "two"}]}
    wanted = {"env": [{"name": "A_TOKEN", "value": LEFT_OUT}, {"name": "A_TOKEN", "value": LEFT_OUT}]}
    assert kept(wanted, has) == has


def test_overrides_are_put_into_the_present_default() -> None:
    spec = TemplateSpec(default=True, overrides={"image": "x"})
    (wanted,) = wanted_templates(spec, "docker", (DEFAULT,), None)
    assert list(differing(wanted, DEFAULT)) == ["variables.properties.image.default"]
    assert wanted["variables"]["properties"]["image"]["default"] == "x"


def test_nothing_is_wanted_where_nothing_is_said_but_a_new_pool_gets_the_default() -> None:
    assert wanted_templates(None, "process", (DEFAULT,), OTHER) == ()
    assert wanted_templates(None, "process", (DEFAULT, OTHER), None) == (DEFAULT, OTHER)


@pytest.mark.parametrize(
    ("spec", "defaults", "words"),
    [
        (TemplateSpec(default=True), (), "there is no default template of worker type 'mine' here"),
        (TemplateSpec(default=True, overrides={"imag": 1}), (DEFAULT,), "the nearest is 'image'"),
        (TemplateSpec(inline={"variables": {"a": 1}}), (), "has job_configuration and variables"),
        (
            TemplateSpec(inline={"variables": {"properties": {}}, "job_configuration": {"a": ["{{b}} {{ c }}"]}}),
            (),
            "what is not among the variables: b, c",
        ),
    ],
)
def test_a_template_that_cannot_be_meant_is_told(spec: TemplateSpec, defaults: Any, words: str) -> None:
    with pytest.raises(TemplateProblem, match=words):
        wanted_templates(spec, "mine", defaults, None)


def test_a_template_that_is_there_may_stay_though_prefect_would_not_take_it_today() -> None:
    odd = {"job_configuration": {"a": "{{ b }}"}, "variables": {}}
    assert wanted_templates(TemplateSpec(inline=odd), "process", (), odd) == (odd,)


def test_the_keepers_own_pool_and_prefects_own_are_not_exported() -> None:
    pools = {name: there(name) for name in ("etl", "management", "Prefect-managed")}
    export = export_pools(pools, {"process": (DEFAULT,)}, Protection(pools=frozenset({"management"})))
    assert [pool.name for pool in export.pools] == ["etl"]
    assert export.omitted == ("Prefect-managed", "management")
