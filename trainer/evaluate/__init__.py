"""Evaluation: from a network's answers to figures, tables and plots."""
