"""Prefect's UI as a person uses it, in both of its versions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from tests.rest import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Response


@dataclass(frozen=True)
class Ui:
    """One version of the UI, open in a browser."""

    page: "Page"
    root: str
    is_newer: bool

    def open(self, path: str) -> None:
        self.page.goto(f"{self.root}{path}")

    def open_pool(self, name: str) -> None:
        self.open(f"/work-pools/work-pool/{quote(name, safe='')}")

    def open_form(self, deployment_id: str) -> None:
        """The form of a custom run, from the deployment's page."""
        self.open(f"/deployments/deployment/{deployment_id}")
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Custom run").first.click()
        self.page.get_by_role("button", name="Submit").wait_for()

    def fill(self, values: Mapping[str, Any]) -> None:
        for label, value in values.items():
            self.set(label, value)

    def submit(self) -> str:
        """The id of the run that is made. Where SQLite was busy, a person clicks again."""
        for _ in range(5):
            with self.page.expect_response(is_decisive) as made:
                self.page.get_by_role("button", name="Submit").click()
            if made.value.status != httpx.codes.SERVICE_UNAVAILABLE:
                break
        assert made.value.ok, made.value.text()
        return str(made.value.json()["id"])

    def open_artifact(self, run_id: str, key: str, artifact_id: str) -> None:
        """A report, from the page of its run."""
        self.open(f"/runs/flow-run/{run_id}")
        self.page.get_by_text("Artifacts", exact=True).click()
        report, versions = f"a[href$='/artifacts/artifact/{artifact_id}']", f"a[href$='/artifacts/key/{key}']"
        if self.is_newer:
            # There, up to Prefect 3.8, a run leads first to all versions of what it has left.
            link = self.page.locator(f"{report}, {versions}").first
            if (link.get_attribute("href") or "").endswith(key):
                link.click()
        self.page.locator(report).first.click()

    @property
    def report(self) -> "Locator":
        """The body of a report: below the artifact's description."""
        return self.page.locator("[data-testid=markdown-display], .artifact-data-markdown")

    @property
    def verdict(self) -> "Locator":
        return self.report.locator("strong, .markdown-renderer__text--strong").first

    def read(self) -> str:
        """The report as a person reads it. The newer UI shows it, takes it away and shows it again."""
        return wait_for(self.report.inner_text, what="the report")

    def pictures(self, number: int) -> list["Locator"]:
        """The report's pictures, once so many are seen beside its text."""
        pictures = self.report.locator("img")
        wait_for(lambda: self.read() and pictures.count() == number, what=f"pictures, {number} of them")
        return pictures.all()

    def follow(self, place: str) -> "Page":
        """Where a report's first link of a kind leads; the older UI opens it in a new tab."""
        link = self.report.locator(f"a[href*='/{place}/']").first
        if self.is_newer:
            link.click()
            return self.page
        with self.page.expect_popup() as opened:
            link.click()
        return opened.value

    def open_answer(self, run_id: str, plan: str) -> "Locator":
        """The form that a paused run waits at, once it shows this of the plan, which comes a moment later."""
        self.open(f"/runs/flow-run/{run_id}")
        if self.is_newer:
            self.page.locator("button[aria-haspopup=menu]").first.click()
            self.page.get_by_role("menuitem", name="Resume").click()
        else:
            self.page.get_by_role("button", name="Resume").click()
        dialog = self.page.get_by_role("dialog").filter(has_text="Resume Flow Run")
        dialog.get_by_text(plan).wait_for()
        return dialog

    def field(self, label: str) -> "Locator":
        """A field of a form, by its label."""
        text = f"normalize-space()='{label}' or normalize-space()='{label} (Optional)'"
        return self.page.locator(f"xpath=//label[{text}]/ancestor::*[.//fieldset][1]").first

    def set(self, label: str, value: Any) -> None:
        """Give a field a value as a person does, whatever kind of field it is."""
        field = self.field(label)
        field.wait_for()
        control = field.locator("input[type=number], input[type=text], textarea").first
        if isinstance(value, bool):
            field.get_by_role("switch").set_checked(value)
        elif isinstance(value, list):
            self._set_list(field, value)
        elif field.get_by_text("Property is type").count():
            # A number that may also be left out.
            field.get_by_text(type(value).__name__, exact=True).click()
            control.fill(str(value))
        elif control.count():
            control.fill(str(value))
        else:
            self._choose(field, [value])

    def _set_list(self, field: "Locator", values: list[str]) -> None:
        tags = field.locator(".p-tag, [data-slot=badge]")
        if tags.count():
            self._choose(field, {*tags.all_inner_texts()} ^ {*values})
            self.page.keyboard.press("Escape")
            return
        for place, value in enumerate(values):
            if field.locator("textarea").count() <= place:
                field.get_by_role("button", name="Add item").click()
            field.locator("textarea").nth(place).fill(value)

    def _choose(self, field: "Locator", options: Iterable[str]) -> None:
        button = field.locator("fieldset button").first
        # In the older UI a click opens the list only once the page has settled, a key always does.
        if self.is_newer:
            button.click()
        else:
            button.press("ArrowDown")
        for option in options:
            self.page.get_by_role("option", name=option, exact=True).click()


def is_decisive(answer: "Response") -> bool:
    """Whether a form's answer is here: the run that is made, or what keeps it from being made."""
    return answer.url.endswith("/create_flow_run") or (answer.url.endswith("/schemas/validate") and not answer.ok)
