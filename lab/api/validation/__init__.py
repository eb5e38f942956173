"""What kube-apiserver's validation refuses, with its field paths and its words."""
