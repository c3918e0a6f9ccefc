"""The nights when the clock of a zone changes, and what schedules do in them."""
