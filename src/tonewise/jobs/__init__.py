"""Bulk work: files in, answers out, and beside them what an auditor asks."""

from tonewise.jobs.run import Report, classify_files

__all__ = ["Report", "classify_files"]
