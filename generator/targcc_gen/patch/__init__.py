"""Put the scheduler into an app that exists: one import and one line after the app is made.

`find` says which app, `prepare` works out a patch, `service` carries it out and tries it, `undo` takes it out again, `rollback` takes back
one that did not work. `target_package` is where the scheduler goes, `choose` says to which app of a file. `served` follows what a server
loads to where it is made, `app` reads the app's file, `edit` changes it, `declare` adds the dependency, `check` starts the result.
"""
