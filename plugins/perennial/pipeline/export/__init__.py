"""The step that hands lists over: only what is new, to no one who withdrew, nothing twice (L9, L11-L17).

Check, send, mark: under the lock of a list, what an interrupted push left is settled first; then the delta is
computed against the ledger, the destination takes it, and what it has taken is written down.
"""

from perennial.pipeline.export.steps import Options, check, export, reconcile, render

__all__ = ["Options", "check", "export", "reconcile", "render"]
