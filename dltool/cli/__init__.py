"""The command line: one file per command; parsing and reporting, never the work itself."""
