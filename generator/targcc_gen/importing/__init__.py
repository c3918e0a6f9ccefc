"""Imported jobs go into a project: as jobs of it, or as rows that stay where they are."""
