"""Mailing tools and other remote takers of lists: one file each behind one protocol (protocol.py)."""
