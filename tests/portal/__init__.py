"""A CryoET Data Portal of one's own: generated records behind GraphQL, and their files on an S3 server.

* `local.LocalPortal` is all of it together; most tests need nothing else.
* `records.Records` makes datasets of any size, `oddities` the records nobody expects.
* `store.Store` filters, `answers` answers whole queries, `server.PortalServer` does so over HTTP and fails on
  request.
* `files.PortalFiles` holds the bucket; `contents` says what is in a record's file.
* `copick_root` points copick's own implementation of the portal at it.
"""
