"""What people write about concepts: rules, the SQLite file, exchange between files, and the routes of the server."""
