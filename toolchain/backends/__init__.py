"""The backends that compute a model, one file each, behind the protocol of `backend.py`."""
