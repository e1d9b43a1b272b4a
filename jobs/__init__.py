"""What the worker process runs: each job opens the app context and calls one function of a room."""
