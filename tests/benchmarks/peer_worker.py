"""Worker of a compared system: ``python peer_worker.py MODULE URL SCHEDULES HOUR``."""

import importlib
import logging
import sys

import peer_notes

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    peer_notes.count_sqlite_statements()
    module, url, schedules, hour = sys.argv[1:]
    importlib.import_module(module).work(url, int(schedules), int(hour))
