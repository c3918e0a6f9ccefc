"""Turn rows of old schedulers into jobs. Each old scheduler has a folder."""
