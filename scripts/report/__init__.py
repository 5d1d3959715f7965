"""Pictures of a start run: a row per CPU, time to the right, coloured by state."""
