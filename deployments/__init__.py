"""How the flows get onto a Prefect server: `poolkeeper up | deploy | doctor | restore`."""
