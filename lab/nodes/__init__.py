"""A lab's nodes. This file is imported by every pod's process and stays empty of imports."""
