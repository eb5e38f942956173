"""A Kubernetes API in memory: what kubectl, controller and agents of a lab talk to.

    python -m lab.api --state-dir DIR [--listen ADDR:PORT]… [--listen-fd N]… [--cluster-cidr …]
                      [--service-cidr …] [--load DIR|FILE]… [--save DIR] [--no-scheduler]

    process            flags, sockets, the end               pki, credentials   keys, kubeconfigs
      └ cluster        puts everything together              journal            the objects on disk
          ├ endpoint   HTTP: verbs to registry calls          manifests          objects as files
          ├ registry   the one place that writes             kinds/, custom/    what each kind demands
          │   ├ admission, controllers/  (through reactor)   validation/        kube-apiserver's words
          │   └ apiserver.stores: versions, watches          schema/            shapes of built-in kinds
          ├ access/    who, and may they                     patching, ownership
          └ aggregation/  APIServices                        reviews, subresources, groupevents

It answers as kube-apiserver does (Kubernetes 1.33/1.34) wherever a lab can notice. Where it does not:

- admission webhooks and conversion webhooks are stored, never called; CEL rules of definitions
  (x-kubernetes-validations) are stored, not evaluated. Creating a definition with either warns;
- exec, attach, logs and port-forward answer with a Status that names `antrea-lab exec`;
- workloads (Deployments and the like), quotas, priorities, storage, certificates and autoscaling are not
  served; the scheduler deals pods out in turn and knows nothing of resources;
- objects are JSON and YAML (built-in kinds are also read from protobuf bodies);
- managedFields begin with the first server-side apply of an object (see lab.api.ownership);
- a watch from before a restart of the process gets 410 and lists again; versions never go backwards.
"""
