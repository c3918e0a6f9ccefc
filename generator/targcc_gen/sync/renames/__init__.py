"""Follow renames between releases: edits move with managed files, people's imports with names.

`table` has the new place of each file, `carry` moves single edits there, `imports` adds the names an edit needs. `import_names` has the
new place of each name, `import_rewrite` rewrites people's import statements.
"""
