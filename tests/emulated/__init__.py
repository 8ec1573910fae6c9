"""A test host in an emulator: see host.py."""
