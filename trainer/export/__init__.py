"""Export: from a finished run to a bundle."""
