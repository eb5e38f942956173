//go:build binaries

// Package binaries names the commands that the tests need, so that go.mod and go.sum pin all they are made of.
package binaries

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver/app"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
