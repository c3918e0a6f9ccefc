"""A file of any format becomes rows: whatever wrote the export, everything after this reads the same.

`text` finds a file's encoding, `exports` chooses the reader, `rows` and `cells` are what comes out. What tables a caller looks for it
says by a `tables.KnownTables`; no reader knows a scheduler.
"""
