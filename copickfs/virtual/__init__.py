"""Files that exist in no layer."""
