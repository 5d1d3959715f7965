"""The CPU wall: a page in Airflow's UI that shows a start run's CPUs at work, one tile each."""
