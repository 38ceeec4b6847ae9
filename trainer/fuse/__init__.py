"""Fuses a bundle for sound and a bundle for pictures into one for both."""
