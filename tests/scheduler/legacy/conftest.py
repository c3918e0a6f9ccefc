"""Fixtures for the legacy tests."""

from hybrid_rig import old_options, settings_of, start
