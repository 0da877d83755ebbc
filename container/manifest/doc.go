// Package manifest reads the YAML files of Kubernetes that describe a Deployment, a Pod or a
// Service.
//
// A manifest says what shall run, not what to do: a Deployment of 100 replicas is 100 pods
// made of one template, a Service is a port that leads to all pods with certain labels. The
// difference to what runs is the business of package difference.
//
//	[Parse]   text → objects, or problems, each with file, line and column
//
// Only fields that one machine can honour are known. A field that Kubernetes has and minirun
// does not is a problem that says why: if it were passed over, the reader would believe in a
// probe that never runs. A misspelt field names the nearest known one. Lenient makes warnings
// of both.
//
// The syntax is goccy/go-yaml's. The walk over its tree is our own (decode.go), because every
// problem shall have its place, also that of a missing field. Anchors and aliases are refused:
// few lines of them stand for gigabytes.
//
// Not here: ConfigMaps, Secrets, Jobs, StatefulSets, Ingresses and all else that needs a
// cluster. See https://kubernetes.io/docs/reference/kubernetes-api/.
package manifest
