"""Datasets of a CryoET Data Portal as a layer.

* `asking`, `insisting`, `runs`, `fetching`: all that the portal tells of a dataset, by its own client
* `records`: what is kept of that, a record for each run
* `stored`, `catalogue`: the records in the index, shared by all processes, and when the portal is asked again
* `discovery`: from a layer's configuration to its questions, and to the objects that its datasets are of
* `naming`, `picks`, `objects`: names, points and objects as copick has them
* `access`: as whom the bucket is read
* `tree`: from a run's record to directories and files
* `fetcher`: from a path of the tree to the bucket, and what is made of what is there
* `groups`: stores on a server that lists nothing
* `layer`: all of it as a layer, with the cache, the listings and the time limits of every remote one
"""
