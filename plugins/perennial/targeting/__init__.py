"""Segments, campaign cards and contact policy: who gets what today, through which channel, and by which rule."""
