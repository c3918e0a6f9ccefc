"""Wire the scheduler into a FastAPI app that exists: one import and one line after the app is made.

`source` keeps a file's bytes, `apps` finds where apps are made, `wiring` adds and removes our lines,
`layout` says where the app is imported from, `embed` renders the scheduler beside it, `verify` imports the result.
"""
