import pytest

from flows.policy.bad_input import BadInput
from flows.policy.override import Overrides, Wish, read_overrides
from flows.policy.recovery import Recovery


def test_no_variable_is_no_wish() -> None:
    assert read_overrides(None) == Overrides()
    assert read_overrides({}).of("etl") is Wish.AUTO


@pytest.mark.parametrize("wish", Wish)
def test_a_wish_is_a_word_or_the_circuit_of_an_object(wish: Wish) -> None:
    assert read_overrides({"etl": wish.value}).of("etl") is wish
    assert read_overrides({"etl": {"circuit": wish.value}}).of("etl") is wish
    assert read_overrides({"etl": wish.value}).of("gpu") is Wish.AUTO


def test_what_is_written_of_a_recovery_goes_before_what_is_usual() -> None:
    usual = Recovery(cooldown_minutes=20, backoff=3, probe_limit=4)
    found = read_overrides({"etl": {"cooldown_minutes": 2, "backlog": "latest"}})
    assert found.of("etl") is Wish.AUTO
    assert found.recovery("etl", usual) == Recovery(cooldown_minutes=2, backoff=3, probe_limit=4, backlog="latest")
    assert found.recovery("gpu", usual) == usual


def test_a_default_that_is_written_out_counts_as_written() -> None:
    found = read_overrides({"etl": {"circuit": "open", "backoff": 2.0}})
    assert found.of("etl") is Wish.OPEN
    assert found.recovery("etl", Recovery(backoff=5)).backoff == 2


@pytest.mark.parametrize(
    "wrong",
    ["Open", "", None, True, 1, [], ["open"], {"circuit": "shut"}, {"circuit": None}, {"circuit": []},
     {"cooldown_minutes": -1}, {"cooldown_minutes": "soon"}, {"backlog": "some"}, {"circuit": "open", "colour": 1}],
)  # fmt: skip
def test_an_entry_that_is_misread_changes_nothing_but_is_told(wrong: object) -> None:
    found = read_overrides({"etl": wrong, "gpu": "open"})
    assert found.misread == {"etl"}
    assert found.of("etl") is Wish.AUTO
    assert found.recovery("etl", Recovery(backoff=5)) == Recovery(backoff=5)
    assert found.of("gpu") is Wish.OPEN


@pytest.mark.parametrize("wrong", ["open", "", [], ["etl"], 1, True, 0.5])
def test_a_value_that_is_no_mapping_is_refused(wrong: object) -> None:
    with pytest.raises(BadInput, match=r"poolkeeper_overrides.*Nothing was done"):
        read_overrides(wrong)
