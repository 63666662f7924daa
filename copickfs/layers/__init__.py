"""Sources of data, one module a kind, and the manager that stacks them."""
