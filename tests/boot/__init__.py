"""Booting real Linux guests: `dev run` and the boot tests."""
