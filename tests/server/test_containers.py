"""The flows on a Docker and on a Kubernetes work pool: deployed as the README says, as far as no engine is needed."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.processes import free_port
from tests.rest import Rest
from tests.servers import prefect_environment, running_server

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.long
TYPES = ("docker", "kubernetes")
FILES = ("flows", "deployments", "prefect.yaml", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server on which nothing is deployed yet."""
    environment = prefect_environment(tmp_path_factory.mktemp("containers"), free_port())
    with running_server(environment, "--no-ui"):
        yield environment


def readme_block() -> dict[str, Any]:
    block = (ROOT / "README.md").read_text().split("<!-- containers -->", 1)[1].split("```", 2)[1]
    content: dict[str, Any] = yaml.safe_load(block.removeprefix("yaml"))
    return content


def copy_of_the_checkout(folder: Path, type_: str) -> Path:
    """With prefect.yaml as the README says, and a work pool of its own."""
    for name in FILES:
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copied(ROOT / name, folder / name)
    text = (folder / "prefect.yaml").read_text()
    text = text.replace("    name: management\n", f"    name: {type_}s\n    job_variables: {{image: poolkeeper}}\n", 1)
    text = text.replace("management_type: process", f"management_type: {type_}")
    (folder / "prefect.yaml").write_text(text + yaml.safe_dump({"pull": readme_block()["pull"]}))
    return folder


def deploy(folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    # The copy's own modules, not those that are installed.
    command = [sys.executable, "-c", "from deployments.poolkeeper import main; main()", "deploy"]
    return subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_readme_names_the_folder_of_the_image() -> None:
    dockerfile = (ROOT / "deployments" / "Dockerfile").read_text()
    (step,) = readme_block()["pull"]
    assert f"WORKDIR {step['prefect.deployments.steps.set_working_directory']['directory']}\n" in dockerfile
    assert set(re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE)) >= {"flows", "deployments"}


@pytest.mark.parametrize("type_", TYPES)
def test_all_of_it_is_deployed_to_run_in_the_image(type_: str, apart: dict[str, str], tmp_path: Path) -> None:
    done = deploy(copy_of_the_checkout(tmp_path, type_), apart)
    assert done.returncode == 0, done.stdout + done.stderr
    with Rest(apart["PREFECT_API_URL"]) as rest:
        pool = rest.read(f"/work_pools/{type_}s")
        deployments = rest.ask("/deployments/filter", work_pools={"name": {"any_": [f"{type_}s"]}})
        queues = rest.ask(f"/work_pools/{type_}s/queues/filter")
    assert (pool["type"], pool["concurrency_limit"]) == (type_, 4)
    assert {queue["name"]: queue["priority"] for queue in queues} == {"urgent": 1, "default": 2, "slow": 9}
    assert len(deployments) == 6
    assert {row["job_variables"]["image"] for row in deployments} == {"poolkeeper"}
    assert [row["pull_steps"] for row in deployments] == [readme_block()["pull"]] * 6
    with temporary_settings({PREFECT_API_URL: apart["PREFECT_API_URL"]}):
        assert '"poolkeeper"' in job(type_, pool["base_job_template"], deployments[0]["job_variables"])


def job(type_: str, template: dict[str, Any], values: dict[str, Any]) -> str:
    """What a worker of this type would start, in the words of its own package."""
    package = f"prefect_{type_}"
    worker = pytest.importorskip(f"{package}.worker", reason=f"{package} is not installed: no job is made")
    configuration = getattr(worker, f"{type_.capitalize()}WorkerJobConfiguration")
    made = asyncio.run(configuration.from_template_and_values(template, values))
    text: str = made.model_dump_json()
    assert "{{" not in text
    return text


def test_an_unknown_worker_type_is_refused_before_anything_is_made(apart: dict[str, str], tmp_path: Path) -> None:
    done = deploy(copy_of_the_checkout(tmp_path, "dokcer"), apart)
    assert done.returncode == 1
    assert "knows no worker type 'dokcer'" in done.stdout
    with Rest(apart["PREFECT_API_URL"]) as rest:
        assert rest.get("/work_pools/dokcers").status_code == 404
