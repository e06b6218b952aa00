"""Everything that decides: pure functions from facts to plans, without clock, input, output or Prefect."""
