"""What a client sent, read and checked: uploads, JSON, options, headers."""
