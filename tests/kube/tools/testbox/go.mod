module edged.dev/tests/kube/tools/testbox

go 1.26
