"""Training: from recordings or prepared clips to a finished run."""
