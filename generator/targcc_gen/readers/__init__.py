"""Read files of any format as rows, the same for everything after.

`text` detects a file's encoding, `exports` chooses the reader, `rows` has the result. A caller names the tables it looks for by
`KnownTables`; no reader knows a scheduler.
"""
