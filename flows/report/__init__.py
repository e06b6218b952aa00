"""Plans and outcomes as pages and tables for people: pure text, a module per job."""

from flows.report.page import Report, report_key

__all__ = ["Report", "report_key"]
