"""The command line: parses, calls, prints. `cellglass.cli.app.main` starts it."""
