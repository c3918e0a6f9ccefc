"""Features of this project, each a folder with a manifest, feature.py."""
