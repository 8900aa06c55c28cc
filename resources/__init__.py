"""Falcon resources and marshmallow schemas of the unit's API."""
