"""What web, worker, models, infra and commands all speak: pure data and rules on it, without I/O."""
