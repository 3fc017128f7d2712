module edged.dev/tests/kube/tools/pause

go 1.26
