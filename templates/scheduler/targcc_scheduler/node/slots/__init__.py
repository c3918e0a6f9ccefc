"""The slots of recurring jobs: which have come, and the runs they become."""
