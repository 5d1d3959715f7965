"""The note of each DAG run, which the UI shows beside it: what happened in that cycle, or why it failed."""
