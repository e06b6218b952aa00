"""Pools as code: what is written beside what is there, and what follows."""
