"""Custom resources that are served in two versions: how an object of one becomes one of the other.

kube-apiserver stores v1beta1 and has the controller convert whatever is read or written as v1alpha2. Any
update of an object through v1alpha2, be it of a label, converts it there and back: what a version cannot
say must come back unharmed. One file per kind.
"""
