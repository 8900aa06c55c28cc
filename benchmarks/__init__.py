"""How fast and how small a unit is: `python -m benchmarks`, run in the repository. See docs/performance.md."""
