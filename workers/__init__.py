"""Supervisor, task pool, job runtime and jobs."""
