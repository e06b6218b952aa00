"""The flows and the house they live in."""
