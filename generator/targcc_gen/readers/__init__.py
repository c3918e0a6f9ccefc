"""Read export files and old databases as rows of the same type.

`text` detects a file's encoding, `exports` chooses the reader, `rows` defines the result. The caller names the wanted tables by
`KnownTables`; the readers know formats, not schedulers.
"""
