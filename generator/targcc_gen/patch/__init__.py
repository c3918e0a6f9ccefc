"""Add the scheduler to an existing app: one import, and one line after the app is made.

`detect` finds the app, `prepare` plans a patch, `service` applies and tries the patch, `verify` starts the patched app, `rollback`
reverts a failed patch, `undo` removes a patch. `target_package` chooses the scheduler's package. `server_settings` finds the object
that a server loads, and `entrypoint` follows the object to the app. `app_file`, `apps` and `layout` read the app's file, `wiring`
edits the file. `dependencies` adds the requirement.
"""
