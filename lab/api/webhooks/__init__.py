"""Programs that the API asks: admission webhooks about writes, conversion webhooks about versions.

    configurations   which hooks there are, and which of them a write concerns
    caller           one question over HTTPS, and what can go wrong, in kube-apiserver's words
    review           AdmissionReview: the question and how its answer is read
    admission        the order of it all: mutating hooks, then validating ones
    conversion       ConversionReview, and a kind's versions in each other's form

The lab's own controllers are not asked about; a cluster's are clients like all others.
"""
