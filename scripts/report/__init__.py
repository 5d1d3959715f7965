"""A start run as a picture: its CPUs × time, coloured by state."""
