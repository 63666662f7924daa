"""Volumes as MRC files: what the word ``mrc`` of ``views`` makes.

From the file that is asked for to the chunks in a layer: `renderer` knows which files there are (`plans`),
`contents` is one open file and turns ranges of bytes into boxes of voxels (`boxes`), `volume` is one array as
all its readers share it (`opening` keeps them), with `tiles` (what is decoded, under a limit), `spill` (what
of it is on a disk), `whole` (planes as a walking reader gets them, in memory of `buffers`),
`decoding` and `chunkfiles` (which version of each chunk that is of) and `ahead` (what
readers will ask for next). `header`, `voxels`, `moments` and `statistics` are the format: its 1024 bytes, its
types, and what it tells of the voxels.

Concurrency: all is thread-safe. No lock is held while something is read, decoded or written; what several
want at once is done by one of them (`copickfs.layers.flight.SingleFlight`).
"""
