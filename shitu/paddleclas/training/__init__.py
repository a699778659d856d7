"""PaddleClas' training configurations (`ppcls/configs`) as recipes of ours."""
