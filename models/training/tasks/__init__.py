"""The trainers, one a task, with what only they do."""
