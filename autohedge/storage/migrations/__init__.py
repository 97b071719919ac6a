"""The schema's history: one file per step in `versions`, run by Alembic when a database is behind `HEAD`.

A step is written by hand beside the change of `autohedge.storage.tables` that it makes; a test compares the tables that all
steps lead to with the tables as they are declared.
"""

HEAD = "0002"
"""The revision that the tables of this version correspond to."""
