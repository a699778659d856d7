"""The one error of a training run itself; recipes, lists and artifacts have their own."""

from models.errors import ModelError


class TrainingError(ModelError):
    """A run can't start or go on: no number for a loss, another recipe's checkpoint, too few classes, no batches."""

    code = "training_failed"
