"""Runs jobs: the Celery application, its tasks, the models of the process, and the keeper."""
