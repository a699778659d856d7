"""Pictures and labels: their readers, the pool, augmentations, batches."""
