"""The jobs of the unit, one module each."""
