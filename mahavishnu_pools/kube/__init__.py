"""Kubernetes: what is sent to a cluster, and how it is watched."""
