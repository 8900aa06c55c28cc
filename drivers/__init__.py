"""Pins, devices, and the simulated reactor. Imports nothing of the rest of the package."""
