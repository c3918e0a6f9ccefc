"""Wire the scheduler into a FastAPI app that exists: one import and one line after the app is made.

`service` plans a patch and carries it out, `undo` takes it out again, `rollback` takes back one that did not work. `target_package` is
where the scheduler goes, `choose` says to which app, `app` reads the app's file, `edit` changes it, `check` imports the result.
"""
