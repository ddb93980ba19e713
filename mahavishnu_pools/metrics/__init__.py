"""Metrics for Prometheus, the dashboard and the alert rules that are made of them."""
