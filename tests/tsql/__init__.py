"""Evidence for SQL Server without a server: the statements that the tests execute, in T-SQL, parsed by Microsoft's parser and read by rules.

``collecting.py`` is the pytest plugin that collects, ``parsing.py`` asks the parser, ``rules.py`` holds what parsers accept and servers refuse,
``cli.py`` is the command: ``uv run python tests/tsql``.
"""
