"""What every trainer shares: the run, checkpoints, schedules, processes, and networks as programs."""
