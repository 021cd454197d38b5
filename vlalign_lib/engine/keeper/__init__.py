"""The keeper of runs: files, processes, narrow types, and what was spent."""
