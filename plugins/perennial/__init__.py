"""Perennial: from sales and CRM data to today's target lists, and the proof of what they earned."""

__version__ = "0.1.0"
