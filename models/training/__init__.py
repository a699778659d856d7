"""How the networks are trained: recipes, data, teachers, losses, networks, and the trainers (tasks) on one engine.

Nothing that serves imports this package, so a worker needs none of it.
"""
