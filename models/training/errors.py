"""The one error of a training run itself; recipes, lists and artifacts have their own."""

from models.errors import ModelError


class TrainingError(ModelError):
    """A run can't start or resume: a loss that is NaN or infinite, another recipe's checkpoint, too few classes, no batches."""

    code = "training_failed"
