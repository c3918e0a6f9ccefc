"""Names that vulture reports as unused, grouped by their user: ``uv run vulture`` must print nothing."""

# Python itself, by PEP 562.
__getattr__
__dir__
_.create_module  # importlib

# Public interface for people's jobs and applications.
_.raise_if_cancelled
_.step_sync
_.attach_sync
_.with_metadata
_.debug
_.save  # Cursors
_.add_recurring
_.enqueue
_.enqueue_many
_.for_engine  # Settings
_.retry_failed  # Batches
_.delivery  # RunEvent
_.retry_at
_.ManualClock  # Scheduler(clock=…) in their tests

# Manifests of features, as text.
GOES_ON
UNSEALED
_.flow_declarations
_.wrong_steps
_.IS_NEEDED
_.IS_OURS
alert_addresses
alert_queue
AlertRules
alert_watch
timeout_graceful_shutdown
AuditChain
note_retries
external_jobs
OverrideWatch
BulkOperations
LateCheck
pings
_.flow_declarations
_.IS_NEEDED
_.IS_OURS
IS_OURS
TokenProvider
sessions_of
host_sessions_of
grants_of
of_overview
of_system

# Jinja2: operators that its sandbox asks about.
_.intercepted_binops

# The generator, and tests of schedules.
_.between
_.matches
_.normal

# Sent by FastAPI.
_.saved
_.planned_by
_.calendar_changes
_.maintenance_until

# Templates of the dashboard.
_.shortcut
_.failing_runs
_.handled_at
_.can_be_seen
_.newest_run
_.snoozed_by
_.muted_by
_.cancel_requested_by
_.recovered
_.unlisted
_.layout
_.is_limited
_.may
_.summary

# Fields read during the serialisation of a response.
_.backoff_seconds
_.timeout_seconds
_.misfire_grace_seconds
_.mode

# Named in a type alias that is a string.
sqlite  # the module, in storage/dialects/base.py

# Hooks and settings that a library uses by name.
_.datagram_received  # asyncio
_.exit_code  # click
_.model_config  # pydantic
_.filters  # Jinja
_.collect  # prometheus_client
_.impl  # SQLAlchemy's TypeDecorator, with the next five
_.cache_ok
_.load_dialect_impl
_.process_bind_param
_.result_processor
coltype
_.arraysize  # DBAPI cursor
_.row_factory  # sqlite3 cursor
enqueued  # pytest
_.isolation_level  # sqlite3
down_revision  # Alembic, with the next two
branch_labels
depends_on
_.job_manager  # Procrastinate, with the next three
_.fetch_job
_.finish_job
delete_job

# The generator's templates.
_.module_docstring
_.parameters_after_star
_.test_arguments

# More hooks and settings that a library uses by name.
_.format_commands  # click
trace  # __exit__ of a context manager
_.StartElementHandler  # expat
_.EndElementHandler
_.StartDoctypeDeclHandler
_.CharacterDataHandler
_.create_system  # zipfile
_.external_attr

# Values that tests compare with pyproject.toml.
_.PROVEN
_.memory_limit_mb  # a job's value in the API

# Statements compiled for each database by SQLAlchemy.
_.inherit_cache
_as_array
_as_json
_in_array
_in_rows
_as_epoch
_as_floor
_as_integer
_as_string_agg
_as_group_concat
_as_days

# Values that templates read from a frame.
_.by_token
_.other_languages

# Times in pages and API.
_.peak_at
_.others_number
_.late_since
_.offset_before
_.offset_after
_.ics  # the spec
_.__signature__  # of the job of a flow
postgresql  # in the text of a type alias, db/dialects/base.py

# The manual's generated pages, compared with its contents in tests/unit/test_docs.py.
_.PAGES

# Checks of a database server, found by name in features/doctor/checkup.py.
_.SERVER_CHECKS
_.TABLE_CHECKS

# SQLAlchemy calls these of the compiler and the driver of SQL Server.
_among
_string_agg
_whole_seconds
_.do_rollback
_.do_rollback_to_savepoint
_.get_default_isolation_level
_.get_driver_connection
_.get_pool_class
_.get_select_precolumns
_.group_by_clause
_.set_isolation_level
_.setinputsizes
_.supports_statement_cache
_.tuple_in_values
_.use_insertmanyvalues
_.visit_current_timestamp_func
_.visit_funcfilter
_.visit_in_op_binary
_.visit_length_func
_.visit_coalesce_func
_.visit_like_op_binary
_.visit_not_like_op_binary
_.visit_nulls_last_op_unary_modifier
_.visit_substr_func
