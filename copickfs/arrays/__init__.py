"""Zarr arrays by themselves: what their metadata says, and decoding no more of them than is needed."""
