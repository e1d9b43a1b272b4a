"""Commands for people. Run them from the root: `.venv/bin/python scripts/<name>.py --help`."""
