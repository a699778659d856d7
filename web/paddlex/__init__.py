"""The routes of PaddleX serving (`paddlex --serve --pipeline PP-ShiTuV2`), on the same jobs, galleries and keys."""
