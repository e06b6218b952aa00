import pytest

from flows.policy.secret_names import holds_secret


@pytest.mark.parametrize(
    "text",
    [
        "run --password hunter2", "run --password=hunter2", "run -token hunter2 --all", "API_KEY=hunter2 run",
        "run --api-key 'hunter two'", 'DB_PASSWORD="hunter2" run', "curl https://me:hunter2@host/",
        "run {{ flags }} --secret hunter2",
    ],
)  # fmt: skip
def test_a_command_that_is_given_a_secret_holds_one(text: str) -> None:
    assert holds_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "run", "", "run --password {{ password }} --user ann", "run --password", "run --password --user ann",
        "run --password $PASSWORD", 'PASSWORD="$PASSWORD" run', "run --max-tokens 100",
        "run --password-file /run/secret", "run --token-url https://host", "the password is asked for",
        "run --user ann", "https://host/{{ token }}",
        "run --token={{ prefect.blocks.secret.x }}",
    ],
)  # fmt: skip
def test_a_command_that_names_where_a_secret_is_holds_none(text: str) -> None:
    assert not holds_secret(text)
