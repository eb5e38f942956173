"""A Kubernetes API in memory: what kubectl, controller and agents of a lab talk to.

    python -m lab.api --state-dir DIR [--listen ADDR:PORT]… [--listen-fd N]… [--cluster-cidr …]
                      [--service-cidr …] [--load DIR|FILE]… [--save DIR] [--no-scheduler]

    process            flags, sockets, the end               pki, credentials   keys, kubeconfigs
      └ cluster        puts everything together              journal            the objects on disk
          ├ kinds/, custom/, validation/    what each kind demands, in kube-apiserver's words
          │   ├ custom/worker               CEL, in a process of its own
          │   └ schema/                     shapes of built-in kinds
          ├ admission, controllers/         what follows from writes (through reactor)
          ├ access/                         who, and may they
          ├ aggregation/                    APIServices
          ├ webhooks/                       admission and conversion by other programs
          ├ subresources, reviews, groupevents
          └ manifests                       objects as files

How objects are read and written over HTTP, patched, applied and deleted is not the lab's: that is
apiserver.documents, with apiserver.stores below it for versions and watches.

It answers as kube-apiserver does (Kubernetes 1.33/1.34) wherever a lab can notice. Where it does not:

- what the API's own controllers write is shown to no admission webhook, and neither are bindings, evictions
  and reviews; matchPolicy Equivalent knows the versions of custom resources only;
- CEL rules of definitions have strings, math and optional types as extensions, but not Kubernetes' own
  libraries (quantity, ip, cidr, url, regex, lists); `optionalOldSelf` is refused;
- the storage version of a definition that a webhook converts can only change while it has no objects;
- exec, attach, logs and port-forward answer with a Status that names `antrea-lab exec`;
- workloads (Deployments and the like), quotas, priorities, storage, certificates and autoscaling are not
  served; the scheduler deals pods out in turn and knows nothing of resources;
- objects are JSON and YAML (built-in kinds are also read from protobuf bodies);
- managedFields begin with the first server-side apply of an object (see apiserver.documents.ownership);
- a watch from before a restart of the process gets 410 and lists again; versions never go backwards.
"""
