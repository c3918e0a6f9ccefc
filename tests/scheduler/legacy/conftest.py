"""What the tests of this room get."""

from hybrid_rig import old_options, settings_of, start
