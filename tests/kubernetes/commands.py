"""What people type after ``kubectl`` about Antrea's aggregated groups, and what has to stand in the answer.

Expectations are regular expressions; the objects are those of tests/data/kubectl/inputs.json.
"""

# ruff: noqa: E501 -- a table

from __future__ import annotations

POLICIES = "networkpolicies.controlplane.antrea.io"
VERSIONED = "networkpolicies.v1beta2.controlplane.antrea.io"
BUNDLES = "supportbundlecollections.v1beta2.controlplane.antrea.io"
FRONT = "acbf6f58-59f4-5ec5-82fb-55e7df530e11"  # the group of one of the inputs' selectors
SOME_ONE = r"[0-9a-f-]{36} +0001-01-01T00:00:00Z\n"

SEEN: list[tuple[str, str]] = [
    # -- get, in every form
    (f"get {POLICIES}", rf"^NAME +CREATED AT\n({SOME_ONE}){{5}}$"),
    (f"get {POLICIES} -o wide", rf"^NAME +CREATED AT\n({SOME_ONE}){{5}}$"),
    (f"get {POLICIES} --no-headers", rf"^({SOME_ONE}){{5}}$"),
    (f"get {POLICIES} --show-labels", r"^NAME +CREATED AT +LABELS\n([0-9a-f-]{36} +\S+ +<none>\n){5}$"),
    (f"get {POLICIES} -o name", r"^(networkpolicy\.controlplane\.antrea\.io/[0-9a-f-]{36}\n){5}$"),
    (f"get {POLICIES} -o json", r'"sourceRef": \{\n +"name": "api-out",'),
    (f"get {POLICIES} -o yaml", r"sourceRef:\n +name: api-out\n +namespace: shop\n +type: K8sNetworkPolicy\n"),
    (f"get {POLICIES} --sort-by=.sourceRef.name -o jsonpath={{.items[*].sourceRef.name}}", "^allow-all api-out db-in deny-all front-in$"),
    (f"get {POLICIES} --sort-by=.sourceRef.name -o custom-columns=NS:.sourceRef.namespace,POLICY:.sourceRef.name",
     "^NS +POLICY\nlab +allow-all\nshop +api-out\ndata +db-in\ndata +deny-all\nshop +front-in\n$"),
    (f"get {POLICIES} -o go-template={{{{range.items}}}}{{{{.sourceRef.type}}}}|{{{{end}}}}",
     r"^(K8sNetworkPolicy\|){5}$"),
    (f"get addressgroups {FRONT} -o jsonpath={{.groupMembers[*].pod.namespace}}", "^shop shop"),
    (f"get addressgroup {FRONT}", rf"^NAME +CREATED AT\n{FRONT} +\S+\n$"),
    (f"get addressgroup/{FRONT} appliedtogroup/{FRONT} -o name",
     rf"^addressgroup\S+/{FRONT}\nappliedtogroup\S+/{FRONT}\n$"),
    ("get egressgroups", "^No resources found\n$"),
    (f"get {BUNDLES}", "^No resources found\n$"),
    ("get networkpolicystats -A", r"NAMESPACE +NAME +SESSIONS +PACKETS +BYTES +CREATED AT\n(.*\n)*shop +api-out +0 +0 +0 "),
    ("get networkpolicystats -n shop -o name",
     "^networkpolicystats.stats.antrea.io/api-out\nnetworkpolicystats.stats.antrea.io/front-in\n$"),
    ("get controllerinfos", r"^NAME +CREATED AT\nantrea-controller +0001-01-01T00:00:00Z\n$"),
    ("get supportbundles controller -o jsonpath={.status}", "^None$"),
    ("get ipgroupassociations 10.10.1.5 -o jsonpath={.associatedGroups}", r"^\[\]$"),
    # -- choosing
    ("get appliedtogroups --field-selector nodeName=node-1 --no-headers", rf"^({SOME_ONE}){{4}}$"),
    ("get appliedtogroups --field-selector nodeName=nowhere", "^No resources found\n$"),
    (f"get addressgroups --field-selector metadata.name={FRONT} -o name", rf"^addressgroup\S+/{FRONT}\n$"),
    (f"get addressgroups --field-selector metadata.name!={FRONT} --no-headers", rf"^({SOME_ONE}){{2}}$"),
    ("get addressgroups -l app=web", "^No resources found\n$"),
    ("get addressgroups -l app!=web --no-headers", rf"^({SOME_ONE}){{3}}$"),
    ("get networkpolicystats -A --field-selector metadata.namespace=data -o name", r"^(\S+/(db-in|deny-all)\n){2}$"),
    (f"get {POLICIES} --chunk-size=2", rf"^NAME +CREATED AT\n({SOME_ONE}){{5}}$"),
    # -- one by one, and what there is
    (f"describe addressgroup {FRONT}", rf"^Name: +{FRONT}\n(.*\n)*Kind: +AddressGroup\n"),
    ("describe controllerinfo antrea-controller", r"Network Policy Controller Info:\n"),
    ("api-resources --api-group=controlplane.antrea.io -o wide",
     r"networkpolicies +controlplane.antrea.io/v1beta2 +false +NetworkPolicy +get,list,watch *\n"),
    ("api-resources --api-group=stats.antrea.io --namespaced=true -o name",
     "^antreanetworkpolicystats.stats.antrea.io\nnetworkpolicystats.stats.antrea.io\n$"),
    ("api-resources --verbs=create --api-group=system.antrea.io -o name", "^supportbundles.system.antrea.io\n$"),
    ("api-versions", "controlplane.antrea.io/v1beta2\n(.*\n)*stats.antrea.io/v1alpha1\n(.*\n)*system.antrea.io/v1beta1\n"),
    ("get --raw /apis/controlplane.antrea.io/v1beta2/egressgroups", r'"kind":"EgressGroupList"'),
    ("wait addressgroups --all --for=jsonpath={.metadata.uid} --timeout=20s", r"(addressgroup\S+ condition met\n){3}"),
    # -- explain: fields and their meaning, from OpenAPI v3 and v2
    (f"explain {POLICIES}", r"FIELDS:\n(.*\n)*  sourceRef\t<NetworkPolicyReference>\n    The policy that this one"),
    (f"explain {POLICIES}.rules.services.port", r"FIELD: port <(IntOrString|string)>\n(.*\n)*.*name of a port"),
    (f"explain {POLICIES} --recursive", r"  rules\t<\[\]NetworkPolicyRule>\n(.*\n)*      ipBlocks\t<\[\]IPBlock>\n        cidr\t<IPNet>\n"),
    ("explain addressgroups.groupMembers.ips", r"FIELD: ips <\[\]string>\n(.*\n)*.*16 bytes each"),
    (f"explain {BUNDLES.partition('.')[0]}.fileServer --api-version=controlplane.antrea.io/v1beta2", r"  hostPublicKey\t<string>\n"),
    ("explain nodelatencystats.peerNodeLatencyStats --recursive", r"lastMeasuredRTTNanoseconds\t<integer>\n"),
    ("explain networkpolicystats --output=plaintext-openapiv2", r"trafficStats\t<Object>\n     How much\.\n"),
    ("explain controllerinfos.networkPolicyControllerInfo", r"  addressGroupNum\t<integer>\n    How many AddressGroups\.\n"),
    ("explain supportbundles", r"  sum\t<string>\n    The SHA-256 of the archive"),
    # -- may I
    (f"auth can-i watch {POLICIES}", "^yes\n$"),
    (f"auth can-i create {POLICIES} --subresource=status", "^yes\n$"),
    (f"auth can-i watch {POLICIES} --as=system:serviceaccount:kube-system:antrea-agent", "^yes\n$"),
]  # fmt: skip

REFUSED: list[tuple[str, str]] = [
    ("get addressgroups nope", r'\(NotFound\): addressgroup.controlplane.antrea.io "nope" not found'),
    ("get nodestatssummaries", r"\(MethodNotAllowed\): the server does not allow this method"),
    ("get supportbundles", r"\(MethodNotAllowed\): the server does not allow this method"),
    (f"delete addressgroup {FRONT}", r"\(MethodNotAllowed\): the server does not allow this method"),
    (f"label addressgroup {FRONT} a=b", r"the server does not allow this method"),
    (f"patch addressgroup {FRONT} --type=merge -p {{}}", r"the server does not allow this method"),
    ("get addressgroups --field-selector spec.x=1", r"\(BadRequest\): .*: field label not supported: spec.x"),
    ("get networkpolicystats -A --field-selector spec.x=1", r'"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
    ("get addressgroups -l a===b", r"unable to parse requirement"),
    ("explain addressgroups.nope", r'field "nope" does not exist'),
    ("get --raw /apis/controlplane.antrea.io/v1beta2/nope", r"\(NotFound\): the server could not find the requested resource"),
    ("get --raw /apis/controlplane.antrea.io/v1beta2/addressgroups?limit=x", r'strconv.ParseInt: parsing "x": invalid syntax'),
    (f"get {POLICIES} --as=nobody", r'\(Forbidden\): networkpolicies.controlplane.antrea.io is forbidden: User "nobody" cannot list'),
    ("get supportbundles nope", r'\(NotFound\): supportBundle.system.antrea.io "nope" not found'),
]  # fmt: skip
