"""What `search.py` is made of: the plan, its trials here or in Ray's processes, their study on disk, the report."""
