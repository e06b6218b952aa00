"""Specs as files: what is read, what is refused and how it is told, and that nothing written there is repeated."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.policy.bad_input import BadInput
from flows.policy.pool_spec import EMPTY, PoolSpec, Spec
from flows.spec_file import read_spec, written_spec
from tests.specs import specs
from tests.strategies import CANARY, HOSTILE, texts, values

ROOT = Path(__file__).resolve().parent.parent
HEAD = "version: 1\npools:\n"
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def read(folder: Path, text: str | bytes) -> Spec:
    path = folder / "pools.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    return read_spec(str(path)).spec


def message_of(path: Path) -> str:
    """How a spec is refused; nothing, where it is read."""
    try:
        read_spec(str(path))
    except BadInput as refusal:
        return str(refusal)
    return ""


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(BadInput) as refusal:
        read(folder, text)
    message = str(refusal.value)
    assert message.startswith(f"Spec '{folder / 'pools.yaml'}': ")
    assert message.endswith(". Nothing was changed. Correct the spec, and run again.")
    return message.removeprefix(f"Spec '{folder / 'pools.yaml'}': ").partition(". Nothing was changed")[0]


def test_everything_that_a_spec_can_say_is_read(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """
version: 1
default_concurrency_limit: 10
pools:
  - name: etl
    type: process
    description: Nightly loads
    concurrency_limit: null
    is_paused: false
    protected: true
    queues:
      - {name: fast, priority: 1, concurrency_limit: 2, description: first}
    base_job_template: {default: true, overrides: {image: x}}
  - {name: "a | b", type: docker, base_job_template: default}
""",
    )
    etl, other = spec.pools
    assert (etl.names("concurrency_limit"), etl.concurrency_limit) == (True, None)
    assert (other.names("concurrency_limit"), other.names("is_paused"), other.names("description")) == (False,) * 3
    assert (etl.queues[0].priority, etl.queues[0].names("is_paused")) == (1, False)
    assert etl.base_job_template
    assert etl.base_job_template.overrides == {"image": "x"}
    assert other.base_job_template
    assert other.base_job_template.default


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "version: 1", HEAD, "version: 1\npools: []"])
def test_an_empty_spec_names_no_pool(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).pools == []
    assert EMPTY.pools == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pools: []", "line 1, version: Field required"),
        ("version: 2\npools: []", "line 1, version: Input should be 1"),
        ("- a", "line 1: a spec is a mapping with version and pools"),
        ("just text", "line 1: a spec is a mapping with version and pools"),
        (f"{HEAD}  - type: process", "line 3, pools[0].name: Field required"),
        (f"{HEAD}  - {{name: a}}", "line 3, pools[0].type: Field required"),
        (f"{HEAD}  - {{name: 5, type: process}}", "line 3, pools[0].name: Input should be a valid string"),
        (
            f"{HEAD}  - name: prefect-mine\n    type: process",
            "line 3, pools[0].name: Prefect keeps names that begin with 'prefect' for itself",
        ),
        (f"{HEAD}  - {{name: PreFect, type: process}}", "Prefect keeps names that begin with 'prefect' for itself"),
        (f"{HEAD}  - {{name: a/b<c, type: process}}", "the name holds / <, which Prefect accepts in no name"),
        (f"{HEAD}  - {{name: \"' '\", type: process}}", "line 3, pools[0].name: the name is empty"),
        (
            f"{HEAD}  - name: a\n    type: process\n    concurrency_limit: -1",
            "line 5, pools[0].concurrency_limit: Input should be greater than or equal to 0",
        ),
        (f"{HEAD}  - {{name: a, type: process, concurrency_limit: yes}}", "Input should be a valid integer"),
        (f"{HEAD}  - {{name: a, type: process, concurrency_limit: '5'}}", "Input should be a valid integer"),
        (f"{HEAD}  - {{name: a, type: process, concurrency_limit: 2147483648}}", "less than or equal to 2147483647"),
        (f"{HEAD}  - {{name: a, type: process, is_paused: null}}", "Input should be a valid boolean"),
        (
            f"{HEAD}  - name: a\n    type: process\n    concurency_limit: 5",
            "line 5, pools[0].concurency_limit: no such key; the nearest is 'concurrency_limit'. There are: name,",
        ),
        ("version: 1\npool: []", "line 2, pool: no such key; the nearest is 'pools'"),
        (
            f"{HEAD}  - {{name: a, type: t, queues: [{{name: q, prioity: 1}}]}}",
            "pools[0].queues[0].prioity: no such key; the nearest is 'priority'",
        ),
        (
            f"{HEAD}  - {{name: a, type: t, queues: [{{name: q, priority: 0}}]}}",
            "pools[0].queues[0].priority: Input should be greater than or equal to 1",
        ),
        (
            f"{HEAD}  - {{name: a, type: t, base_job_template: {{file: x, inline: {{}}}}}}",
            "pools[0].base_job_template: is one of: default,",
        ),
        (f"{HEAD}  - {{name: a, type: t, base_job_template: other}}", "pools[0].base_job_template: Input should be a"),
        (f"{HEAD}  - {{name: a, type: t, base_job_template: {{defaults: true}}}}", "the nearest is 'default'"),
        (
            f"{HEAD}  - {{name: a, type: t}}\n  - {{name: b, type: t}}\n  - {{name: a, type: t}}",
            "line 5, pools[2].name: a work pool above has the same name",
        ),
        (
            f"{HEAD}  - name: a\n    type: t\n    queues:\n      - {{name: q}}\n      - {{name: q}}",
            "line 7, pools[0].queues[1].name: a work queue above has the same name",
        ),
        (
            f"{HEAD}  - name: a\n    type: t\n    queues:\n      - {{name: q, priority: 1}}\n"
            "      - {name: r, priority: 1}",
            "line 7, pools[0].queues[1].priority: a work queue above has the same priority",
        ),
        (f"{HEAD}  - name: a\n    type: t\n    name: b", "line 5, pools[0].name: the same key stands above"),
        (f"{HEAD}  - name: a\n    type: t\n    on: b", "line 5, pools[0]: a key that is not text; put it in quotes"),
        (f"{HEAD}  - name: a\n   type: t", "cannot be read as YAML at column"),
        ("version: 1\n\tpools: []", "line 2: cannot be read as YAML at column 1"),
        ("version: 1\n---\nversion: 1", "line 2: cannot be read as YAML at column 1"),
        (f"{HEAD}  - !!python/object:os.system {{}}", "line 3: cannot be read as YAML"),
        (b"version: \xff", "is not text in UTF-8"),
        (f"{HEAD}  - {{name: \"a\\0\", type: t}}", "line 3, pools[0].name: holds what JSON cannot"),
        (f"{HEAD}  - {{name: a, type: t, base_job_template: {{inline: {{a: 2020-01-01}}}}}}", "holds what JSON cannot"),
        (f"{HEAD}  - {{name: a, type: t, base_job_template: {{inline: {{a: .nan}}}}}}", "holds what JSON cannot"),
        (f"{HEAD}  - {{name: a, type: t, description: 2020-13-45}}", "a date or number that there is not"),
        (f"{HEAD}  - &x {{name: a, type: t, base_job_template: {{inline: {{a: *x}}}}}}", "inline.a: repeats itself"),
        ("[" * 100_000, "line 1: "),
        (f"a: {'{a: ' * 200}1{'}' * 200}", "is nested too deeply"),
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{chr(98 + at)}: &{chr(98 + at)} [{','.join([f'*{chr(97 + at)}'] * 9)}]\n" for at in range(9)
        ), "repeats too much"),
        (
            f"{HEAD}  - {{name: a, type: t, description: '[Poolkeeper: paused]'}}",
            "holds a note that Poolkeeper writes itself",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_and_key(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in refused(tmp_path, text)


def test_several_problems_are_told_together_up_to_ten(tmp_path: Path) -> None:
    assert refused(tmp_path, f"{HEAD}  - {{name: a}}\n  - {{type: t}}").startswith("2 problems: line 3, ")
    many = HEAD + "".join(f"  - {{name: p{number}}}\n" for number in range(14))
    message = refused(tmp_path, many)
    assert message.startswith("14 problems: ")
    assert message.endswith("; and 4 more")


@pytest.mark.parametrize("path", ["none.yaml", ".", "", "no/such/folder/x.yaml", "a\0b"])
def test_a_file_that_cannot_be_read_is_one_clear_message(tmp_path: Path, path: str) -> None:
    with pytest.raises(BadInput, match=r"there is no such file|cannot be read"):
        read_spec(str(tmp_path / path) if path else "")


def test_a_path_below_the_working_directory_is_known_by_that_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(tmp_path, "version: 1")
    monkeypatch.chdir(tmp_path)
    assert {read_spec(path).path for path in ("pools.yaml", "./pools.yaml", str(tmp_path / "pools.yaml"))} == {
        "pools.yaml"
    }


# --- Templates in files -------------------------------------------------------------------------------------------


def with_file(name: str) -> str:
    return f"{HEAD}  - {{name: a, type: t, base_job_template: {{file: {name}}}}}"


@pytest.mark.parametrize("name", ["t.json", "t.yaml"])
def test_a_template_stands_in_a_file_beside_the_spec(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps({"a": [1, {"b": None}]}))
    template = read(tmp_path, with_file(name)).pools[0].base_job_template
    assert template
    assert template.inline == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.json", None, "'t.json': there is no such file"),
        ("t.json", f'{{\n"a": "{CANARY}",\n"b"}}', "'t.json', line 3: cannot be read as JSON"),
        ("t.json", f'["{CANARY}"]', "'t.json': a base job template is a mapping"),
        ("t.json", '{"a": 1, "a": 2}', "'t.json': holds a key twice in one object"),
        ("t.json", '{"a": NaN}', "'t.json': holds what Prefect cannot keep at a"),
        ("t.json", '{"a": ' * 100_000, "'t.json': is nested too deeply"),
        ("t.yaml", f"a: {CANARY}\na: 2", "'t.yaml', line 2: the same key stands above"),
        ("t.yaml", f"a: [{CANARY}", "'t.yaml', line 2: cannot be read as YAML"),
        ("t.yaml", "", "'t.yaml': a base job template is a mapping"),
    ],
)
def test_what_is_wrong_with_a_templates_file_is_told_at_its_place(
    tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    message = refused(tmp_path, with_file(name))
    assert message.startswith(f"line 3, pools[0].base_job_template.file: {words}")
    assert CANARY not in message


# --- Whatever is written ------------------------------------------------------------------------------------------


@in_one_folder
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_a_spec_or_refused_in_words(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "pools.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    assert len(message_of(path)) < 3000


keys = st.sampled_from(["name", "type", "queues", "base_job_template", "inline", "concurrency_limit", "x", "file"])
canaries = st.sampled_from([CANARY, f"*{CANARY}", 5, None, True, -1, [CANARY], f"!{CANARY}", f"2020-13-{CANARY}"])
anything = st.recursive(
    canaries, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=10
)


@in_one_folder
@given(anything, st.booleans(), st.integers(0, 40))
def test_nothing_that_is_written_is_repeated_where_it_is_refused(
    tmp_path: Path, value: Any, as_flow: bool, cut: int
) -> None:
    """Also where the text is broken off, or unquoted, so that values become aliases and tags."""
    text = yaml.safe_dump({"version": 1, "pools": value}, default_flow_style=as_flow).replace("'", "")
    path = tmp_path / "pools.yaml"
    path.write_text(text[: len(text) - cut])
    # The name of a template's file is repeated, for people have to find it.
    assert CANARY not in message_of(path).replace(f"{CANARY}': there is no such file", "")


@in_one_folder
@given(specs())
def test_a_spec_that_is_written_reads_back_the_same(tmp_path: Path, spec: Spec) -> None:
    document = spec.model_dump(exclude_unset=True)
    assert read(tmp_path, written_spec(document, "one\ntwo")) == spec


def pool_with(**fields: Any) -> dict[str, Any]:
    return {"version": 1, "pools": [{"name": "a", "type": "t", **fields}]}


def only(spec: Spec) -> PoolSpec:
    (pool,) = spec.pools
    return pool


@in_one_folder
@given(texts.filter(lambda text: "\0" not in text) | st.sampled_from(HOSTILE))
def test_a_description_of_any_content_reads_back_the_same(tmp_path: Path, text: str) -> None:
    assert only(read(tmp_path, written_spec(pool_with(description=text), ""))).description == text


@in_one_folder
@given(values(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts))
def test_a_template_of_any_content_reads_back_the_same(tmp_path: Path, value: Any) -> None:
    document = pool_with(base_job_template={"inline": {"a": value, "b": value}})
    if "\\u0000" in json.dumps(value):
        return
    template = only(read(tmp_path, written_spec(document, ""))).base_job_template
    assert template
    assert template.inline == {"a": value, "b": value}


def test_the_example_beside_the_project_means_nothing_until_it_is_made_ones_own(tmp_path: Path) -> None:
    path = ROOT / "deployments/pools.yaml"
    assert read_spec(str(path)).spec.pools == []
    head, _, example = path.read_text().partition("pools: []\n")
    spec = read(tmp_path, head + re.sub("^# ?", "", example, flags=re.MULTILINE))
    assert [pool.name for pool in spec.pools] == ["etl", "reports"]
    assert spec.default_concurrency_limit == 10
