"""The note of each DAG run, which Airflow's UI shows beside it: what its pods did, or why it failed."""
