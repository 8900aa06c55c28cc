"""Calibrations and estimators: what readings and doses mean. Curves, files, the names of the active ones."""
