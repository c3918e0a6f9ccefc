"""Follow renames between releases: edits move with managed files, users' imports with names.

`table` maps each file to its new place, `carry` moves single edits there, `imports` adds the names that an edit needs. `import_names` maps
each name to its new place, `import_rewrite` rewrites users' import statements.
"""
