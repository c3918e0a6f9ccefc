"""A job's `@job(...)` follows the spec: `model` reads it, `edit` changes it, `sync_decorator` decides what to change."""
