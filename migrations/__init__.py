"""The database's schema, as Alembic revisions, and the rights of the application's role."""
