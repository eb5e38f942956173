"""What may be written into Antrea's custom resources: the rules that no schema can say.

    kube-apiserver ──AdmissionReview──▶ apiserver.admission ──▶ a rule of this folder ──▶ Verdict
                                                                    ▲
                      watches of the custom resources ──▶ known ────┘

One file per kind of rule. A rule is a pure function of the new object, the old one, the user and what is
known of the cluster; it returns the sentence of the refusal or None. The sentences are Antrea's (v2.7),
because tests and people's scripts know them. ``registration`` says which rule is served where.

To add a kind: a file with its structs (apis.gojson.GoStruct) and its rule, a ``Table`` if the rule asks for
other objects, and its lines in ``registration``.
"""
