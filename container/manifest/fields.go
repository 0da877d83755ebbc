package manifest

import (
	"reflect"
	"slices"
	"sync"
)

// Why Kubernetes' own fields are not known here.
const (
	aProbe     = "probes are Kubernetes': minirun has no daemon that would ask again and again"
	aRollout   = "rollouts are Kubernetes': minirun replaces pods at once"
	aVolume    = "volumes of a cluster are Kubernetes': minirun knows hostPath and emptyDir"
	aNode      = "the choice of a node is Kubernetes': here is one machine"
	aCluster   = "it is a matter of a cluster's, and so Kubernetes'"
	aSecurity  = "security contexts are Kubernetes': see the flags of minirun run"
	anotherWay = "minirun does not do it, Kubernetes does"
)

// foreign are the fields of Kubernetes' that minirun does not have, by the type they would be
// in, and why.
var foreign = sync.OnceValue(func() map[string]map[string]string {
	return map[string]map[string]string{
		"DeploymentSpec": {"strategy": aRollout, "minReadySeconds": aRollout, "progressDeadlineSeconds": aRollout, "revisionHistoryLimit": aRollout, "paused": aRollout},
		"Selector":       {"matchExpressions": anotherWay},
		"Metadata": {"generateName": aCluster, "finalizers": aCluster, "ownerReferences": aCluster, "resourceVersion": aCluster,
			"uid": aCluster, "creationTimestamp": aCluster, "generation": aCluster, "managedFields": aCluster},
		"PodSpec": {"affinity": aNode, "nodeSelector": aNode, "nodeName": aNode, "tolerations": aNode, "topologySpreadConstraints": aNode,
			"schedulerName": aNode, "priority": aNode, "priorityClassName": aNode, "serviceAccount": aCluster, "serviceAccountName": aCluster,
			"automountServiceAccountToken": aCluster, "imagePullSecrets": aCluster, "readinessGates": aProbe, "runtimeClassName": aCluster,
			"securityContext": aSecurity, "initContainers": anotherWay, "ephemeralContainers": anotherWay, "dnsPolicy": anotherWay,
			"dnsConfig": anotherWay, "hostNetwork": anotherWay, "hostPID": anotherWay, "hostIPC": anotherWay, "hostUsers": anotherWay,
			"hostAliases": anotherWay, "shareProcessNamespace": anotherWay, "subdomain": aCluster, "enableServiceLinks": aCluster,
			"terminationGracePeriodSeconds": anotherWay, "activeDeadlineSeconds": anotherWay, "overhead": aCluster, "preemptionPolicy": aNode},
		"Container": {"livenessProbe": aProbe, "readinessProbe": aProbe, "startupProbe": aProbe, "lifecycle": anotherWay, "securityContext": aSecurity,
			"envFrom": aCluster, "volumeDevices": aVolume, "stdin": anotherWay, "stdinOnce": anotherWay, "tty": anotherWay,
			"terminationMessagePath": anotherWay, "terminationMessagePolicy": anotherWay, "restartPolicy": anotherWay, "resizePolicy": anotherWay},
		"Variable":  {"valueFrom": aCluster},
		"Port":      {"hostPort": "a hundred pods cannot have one port: a Service spreads a port of the host over them", "hostIP": anotherWay},
		"Resources": {"claims": aCluster},
		"Amounts":   {"ephemeral-storage": anotherWay, "storage": aVolume},
		"Volume": {"persistentVolumeClaim": aVolume, "configMap": aVolume, "secret": aVolume, "projected": aVolume, "downwardAPI": aVolume,
			"csi": aVolume, "nfs": aVolume, "iscsi": aVolume, "ephemeral": aVolume, "image": aVolume},
		"VolumeMount": {"subPath": anotherWay, "subPathExpr": anotherWay, "mountPropagation": anotherWay, "recursiveReadOnly": anotherWay},
		"ServiceSpec": {"clusterIP": aCluster, "clusterIPs": aCluster, "externalName": aCluster, "externalIPs": aCluster,
			"externalTrafficPolicy": aCluster, "internalTrafficPolicy": aCluster, "loadBalancerIP": aCluster, "loadBalancerClass": aCluster,
			"loadBalancerSourceRanges": anotherWay, "sessionAffinity": anotherWay, "sessionAffinityConfig": anotherWay, "healthCheckNodePort": aProbe,
			"publishNotReadyAddresses": aProbe, "ipFamilies": anotherWay, "ipFamilyPolicy": anotherWay, "allocateLoadBalancerNodePorts": aCluster},
		"ServicePort": {"appProtocol": anotherWay},
		"Deployment":  {"status": "it is what Kubernetes has found, not what shall be"},
		"Pod":         {"status": "it is what Kubernetes has found, not what shall be"},
		"Service":     {"status": "it is what Kubernetes has found, not what shall be"},
	}
})

// keysOf are the known keys of a struct, by the index of their field.
func keysOf(t reflect.Type) map[string]int {
	keys := map[string]int{}
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("key"); key != "" {
			keys[key] = i
		}
	}
	return keys
}

// nearest is the known key that is most like a word; "" if none is like it.
func nearest(word string, keys map[string]int) string {
	best, least := "", 1+max(1, len(word)/3)
	sorted := make([]string, 0, len(keys))
	for key := range keys {
		sorted = append(sorted, key)
	}
	slices.Sort(sorted)
	for _, key := range sorted {
		if d := distance(word, key); d < least {
			best, least = key, d
		}
	}
	return best
}

// distance is the number of letters to insert, remove or change that makes a of b.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a) // no key is as long, and the work is the product of both lengths
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
