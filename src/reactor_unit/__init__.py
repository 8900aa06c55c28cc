"""One HTTP API for one small bioreactor."""

__version__ = "0.1.0"
