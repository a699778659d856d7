"""What is removed for good, wherever it lies, and the receipts of it."""
