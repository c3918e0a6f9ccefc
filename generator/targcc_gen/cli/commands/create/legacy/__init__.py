"""The parts of `targcc-gen import-legacy`: what was asked for, reading the old jobs, and carrying it out."""
