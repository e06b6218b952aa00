import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.redaction import plain_secrets, shown_default, template_variables
from flows.prefect_api.work_pools import describe_template
from tests.strategies import CANARY, templates_with_canary, values


def shipped_templates() -> dict[str, dict[str, Any]]:
    """The base job template of every worker type that this Prefect knows."""
    views = files("prefect") / "server" / "api" / "collections_data" / "views" / "aggregate-worker-metadata.json"
    packages = json.loads(views.read_text())
    return {
        name: worker["default_base_job_configuration"]
        for workers in packages.values()
        for name, worker in workers.items()
    }


SHIPPED = shipped_templates()


def configured(**job_configuration: Any) -> dict[str, Any]:
    return {"job_configuration": job_configuration, "variables": {"type": "object", "properties": {}}}


def with_variable(name: str, **schema: Any) -> dict[str, Any]:
    return {"job_configuration": {}, "variables": {"type": "object", "properties": {name: schema}}}


def with_env(**env: Any) -> dict[str, Any]:
    return with_variable("env", type="object", default=env)


@given(templates_with_canary())
def test_no_text_of_a_template_gets_past_its_description(template: dict[str, Any]) -> None:
    assert CANARY in str(template)
    assert CANARY not in repr(describe_template(template))


@given(st.sampled_from(sorted(SHIPPED)), values(st.just(CANARY)), st.data())
def test_no_text_gets_past_the_description_of_a_template_that_prefect_ships(
    kind: str, value: Any, data: st.DataObject
) -> None:
    template = json.loads(json.dumps(SHIPPED[kind]))
    name = data.draw(st.sampled_from(sorted(template["variables"]["properties"])))
    template["variables"]["properties"][name]["default"] = value
    template["job_configuration"][data.draw(st.sampled_from(["env", "labels", "command"]))] = value
    assert CANARY not in repr(describe_template(template))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_default_can_be_described(default: Any) -> None:
    described = describe_template(with_variable("anything", default=default))
    assert [variable.name for variable in described.variables] == ["anything"]


@pytest.mark.parametrize("odd", [None, 5, True, "text", [], {}, [5], {"type": None}])
@pytest.mark.parametrize("field", ["variables", "job_configuration", "properties", "schema", "anyOf", "enum", "type"])
def test_a_template_that_is_no_template_can_be_described(field: str, odd: Any) -> None:
    templates = {
        "variables": {"variables": odd},
        "job_configuration": {"job_configuration": odd},
        "properties": {"variables": {"properties": odd}},
        "schema": {"variables": {"properties": {"x": odd}}},
        "anyOf": with_variable("x", anyOf=odd),
        "enum": with_variable("x", enum=odd, default="y"),
        "type": with_variable("x", type=odd),
    }
    assert describe_template(templates[field]).secrets == ()


def test_a_choice_that_the_template_declares_is_shown() -> None:
    assert shown_default({"enum": ["Always", "Never"], "default": "Never"}) == "Never"
    assert shown_default({"enum": ["Always", "Never"], "default": "hunter2"}) == "set, not shown"


@pytest.mark.parametrize(
    ("default", "shown"),
    [
        (None, "not set"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1.5, "1.5"),
        ("", "empty"),
        ({}, "empty"),
        ([], "empty"),
        ("hunter2", "set, not shown"),
        ({"a": "hunter2"}, "set, not shown"),
        (["hunter2"], "set, not shown"),
    ],
)
def test_a_default_is_shown_only_where_it_is_harmless(default: Any, shown: str) -> None:
    assert shown_default({"default": default}) == shown


def test_a_variable_without_a_default_is_not_set() -> None:
    assert shown_default({}) == "not set"


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "string"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer"),
        ({"anyOf": [{"type": "string"}, {"$ref": "#/definitions/Block"}]}, "string or object"),
        ({}, "any"),
    ],
)
def test_a_variable_has_the_type_that_it_declares(schema: dict[str, Any], kind: str) -> None:
    (variable,) = template_variables(with_variable("x", **schema))
    assert variable.type == kind


def test_variables_come_by_name() -> None:
    template = {"variables": {"properties": {"b": {}, "c": {}, "a": {}}}}
    assert [variable.name for variable in template_variables(template)] == ["a", "b", "c"]


@pytest.mark.parametrize("kind", sorted(SHIPPED))
def test_a_template_as_prefect_ships_it_holds_no_secret(kind: str) -> None:
    assert plain_secrets(SHIPPED[kind]) == ()
    assert template_variables(SHIPPED[kind])


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "PGPASSWORD",
        "MYSQL_PWD",
        "DB_PASS",
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "GITHUB_PAT",
        "PREFECT_API_KEY",
        "apiKey",
        "PREFECT_API_AUTH_STRING",
        "SENTRY_DSN",
        "AZURE_STORAGE_CONNECTION_STRING",
        "SSH_PRIVATE_KEY",
        "Authorization",
        "CLIENT_SECRET",
    ],
)
def test_an_environment_variable_with_a_secret_written_out_is_found(name: str) -> None:
    assert plain_secrets(with_env(**{name: "hunter2"})) == (f"variables.env.{name}",)
    assert plain_secrets(configured(env={name: "hunter2"})) == (f"job_configuration.env.{name}",)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://user:hunter2@db:5432/prefect",
        "redis://:hunter2@cache:6379/0",
        "https://user:hunter2@example.com/simple",
        "https://oauth2:x@example.com",
    ],
)
def test_an_address_with_a_password_in_it_is_found_under_any_name(url: str) -> None:
    assert plain_secrets(with_env(WHERE=url)) == ("variables.env.WHERE",)
    assert plain_secrets(configured(command=f"sync --from {url} --fast")) == ("job_configuration.command",)
    assert plain_secrets(configured(args=["a", url])) == ("job_configuration.args[1]",)


@pytest.mark.parametrize("url", ["https://example.com:8080/a@b", "postgres://user@db/x", "https://example.com/a:b@c"])
def test_an_address_without_a_password_is_no_secret(url: str) -> None:
    assert plain_secrets(with_env(WHERE=url)) == ()


def test_environment_variables_in_a_list_are_found_by_their_name() -> None:
    env = [{"name": "MODE", "value": "fast"}, {"name": "DB_PASSWORD", "value": "hunter2"}]
    container = {"image": "x", "env": env}
    template = configured(job_manifest={"spec": {"template": {"spec": {"containers": [container]}}}})
    path = "job_configuration.job_manifest.spec.template.spec.containers[0].env[1].DB_PASSWORD"
    assert plain_secrets(template) == (path,)


def test_a_variable_that_the_schema_calls_secret_is_found_whatever_its_name() -> None:
    assert plain_secrets(with_variable("x", format="password", default="hunter2")) == ("variables.x",)
    assert plain_secrets(with_variable("x", writeOnly=True, default="hunter2")) == ("variables.x",)
    assert plain_secrets(with_variable("x", default="hunter2")) == ()


def test_everything_written_out_under_the_name_of_a_secret_is_found() -> None:
    template = with_variable("registry_credentials", default={"username": "me", "login": {"password": "hunter2"}})
    assert "variables.registry_credentials.login.password" in plain_secrets(template)


@pytest.mark.parametrize("value", ["", "   ", None, 5, True, [], {}])
def test_where_nothing_is_written_out_there_is_no_secret(value: Any) -> None:
    assert plain_secrets(with_env(DB_PASSWORD=value)) == ()


@pytest.mark.parametrize(
    "reference",
    [
        "{{ prefect.blocks.secret.db-password }}",
        "{{prefect.variables.password}}",
        "  {{ db_password }}\n",
        "Bearer {{ prefect.blocks.secret.token }}",
        "postgres://user:{{ prefect.blocks.secret.db-password }}@db/x",
        "postgres://user:{{prefect.blocks.secret.db-password}}@db/x",
    ],
)
def test_a_reference_to_a_block_or_a_variable_is_no_secret(reference: str) -> None:
    assert plain_secrets(with_env(DB_PASSWORD=reference)) == ()
    assert plain_secrets(configured(env=[{"name": "DB_PASSWORD", "value": reference}])) == ()


def test_a_secret_between_two_references_is_found() -> None:
    env = {"DB_PASSWORD": "{{ user }}hunter2{{ host }}"}
    assert plain_secrets(with_env(**env)) == ("variables.env.DB_PASSWORD",)


KUBERNETES_ENV = {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
PLACES = {
    "a key of a Kubernetes secret": {"env": [KUBERNETES_ENV]},
    "a whole Kubernetes secret": {"envFrom": [{"secretRef": {"name": "db-secret"}}]},
    "a mounted Kubernetes secret": {"volumes": [{"name": "x", "secret": {"secretName": "db-secret"}}]},
    "a file of a mounted Kubernetes secret": {
        "volumes": [{"name": "x", "secret": {"secretName": "db", "items": [{"key": "pgpass", "path": ".pgpass"}]}}]
    },
    "a pull secret": {"imagePullSecrets": [{"name": "registry"}]},
    "a secret of ECS": {"secrets": [{"name": "DB_PASSWORD", "valueFrom": "arn:aws:secretsmanager:eu:1:secret:db"}]},
    "a secret of Cloud Run": {"env_from_secrets": {"API_KEY": {"secret": "api-key", "version": "latest"}}},
    "a secret of Azure by its address": {"DB_PASSWORD_URL": "https://vault.example.com/secrets/db"},
    "a file": {"env": {"DB_PASSWORD_FILE": "/run/secrets/db"}},
    "a Prefect block": {"credentials": {"$ref": {"block_document_id": "6f1ad0e5-4d3f-4f4b-9f6c-5a8f1a1f0b11"}}},
}


@pytest.mark.parametrize("place", PLACES)
def test_the_place_where_a_secret_is_kept_is_no_secret(place: str) -> None:
    assert plain_secrets(configured(**PLACES[place])) == ()
    variables = {name: {"default": value} for name, value in PLACES[place].items()}
    assert plain_secrets({"variables": {"properties": variables}}) == ()


@pytest.mark.parametrize(
    ("name", "value"), [("TOKENIZERS_PARALLELISM", "false"), ("MAX_TOKENS", "4096"), ("TOKEN_TTL_SECONDS", "60")]
)
def test_a_switch_or_a_number_is_no_secret(name: str, value: str) -> None:
    assert plain_secrets(with_env(**{name: value})) == ()


@given(templates_with_canary())
def test_paths_come_in_order_and_each_once(template: dict[str, Any]) -> None:
    paths = plain_secrets(template)
    assert list(paths) == sorted(set(paths))


@given(templates_with_canary())
def test_the_same_template_has_the_same_digest_whatever_the_order_of_its_keys(template: dict[str, Any]) -> None:
    turned = json.loads(json.dumps(template), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert describe_template(turned) == describe_template(template)
