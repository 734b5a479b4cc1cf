"""Answers over HTTP: routes, keys, errors, the dashboard; no logic of its own."""
