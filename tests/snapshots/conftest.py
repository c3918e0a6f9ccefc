"""Exclude the tests inside golden trees, which belong to generated projects."""

collect_ignore_glob = ["trees/*"]
