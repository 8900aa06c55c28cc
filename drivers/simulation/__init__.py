"""The simulated reactor: a plant, and the seams of a Pi in front of it."""
