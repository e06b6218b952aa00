"""What a cleanup clears away, a file for each kind, and what keeps it from clearing too much."""
