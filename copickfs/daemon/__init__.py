"""The life cycle of a mount: starting, watching and ending the process that serves it."""
