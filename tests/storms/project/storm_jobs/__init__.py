"""The project that the storms run, as release 1 has it; ``releases/`` holds what later ones change."""
