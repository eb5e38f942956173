"""Objects that clients write: JSON documents, and everything that Kubernetes promises about writing them.

    kind           what the library asks of a kind: names, defaults, validation, how objects go away
    registry       the objects of all kinds, and the one place that publishes
      ├ writes       the steps of a create, update, delete   pending    taking them where they have to wait
      ├ operation    one write as admission sees it          refusals   how writes are refused
      ├ metadata     validation of metadata                  formats    of single values
      └ deletion     preconditions, propagation, grace, finalizers
    endpoint       HTTP in front of the registry: one for each kind and version, the status subresource too
      ├ requests     what a request says besides the object  info       a kind in the server's words
      ├ patches      which patches a kind takes              jsonpatch, strategic (mergekeys)
      └ ownership    managedFields and server-side apply     fieldsets, shape
    record         a document as the stores keep it
    schema         how a kind without a decoder of its own reads bodies

A server subclasses `Kind` for each of its kinds, adds them to a `Registry` and registers a `DocumentEndpoint`
for each. Programs of the same process write through the registry, controllers observe it.
"""
