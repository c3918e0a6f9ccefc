"""Add the scheduler to an existing app: one import, and one line after the app is made.

`detect` finds the app, `prepare` works out a patch, `service` carries it out, `verify` starts the result, `rollback` undoes a failed patch,
`undo` removes a good one. `target_package` chooses the scheduler's package. `server_settings` and `entrypoint` follow the object that a
server loads to its app, `app_file`, `apps` and `layout` read the app's file, `wiring` edits it. `dependencies` adds the requirement.
"""
