"""The CPU wall: a page in Airflow's UI with a tile for each CPU of a start run."""
