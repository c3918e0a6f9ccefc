"""Exports of a legacy ``c_Job`` table and its companions, turned into jobs of a spec.

The way of a row: ``source`` (bytes to text) → a reader (``tsql``, ``csvfile``, ``jsonfile``, ``xmlfile``, ``excel``: text to rows) →
``inventory`` (rows to tables; each row once) → ``cron_shape`` or ``classic_shape`` (a row becomes a job, an inactive job, or a
rejection) → ``report`` and ``parity`` (what the old server did against what the new one will do).
"""
