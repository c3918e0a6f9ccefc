"""The golden trees hold tests of generated projects, which are not ours to run here."""

collect_ignore_glob = ["trees/*"]
