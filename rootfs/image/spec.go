package image

// The documents of the OCI image specification, as far as this package uses
// them, with the specification's own field names. Why not import the
// specification's Go package? It brings a package that compiles regular
// expressions before main begins, a quarter of a millisecond in each of
// minirun's commands. The tests check that both read the same documents alike.

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"time"
)

// Media types (media-types.md).
const (
	MediaTypeIndex     = "application/vnd.oci.image.index.v1+json"
	MediaTypeManifest  = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeConfig    = "application/vnd.oci.image.config.v1+json"
	MediaTypeLayer     = "application/vnd.oci.image.layer.v1.tar"
	MediaTypeLayerGzip = MediaTypeLayer + "+gzip"
	MediaTypeLayerZstd = MediaTypeLayer + "+zstd"
)

// Docker's names, older than those of OCI, for the same things.
const (
	dockerIndex     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest  = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig    = "application/vnd.docker.container.image.v1+json"
	dockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip = dockerLayer + ".gzip"
	dockerLayerZstd = dockerLayer + ".zstd"
)

// A Digest is "sha256:" and 64 lower-case hexadecimal digits (descriptor.md).
// One that comes from outside may be anything until it has been checked.
type Digest string

// DigestOf gives the digest of content.
func DigestOf(content []byte) Digest {
	h := sha256.New()
	h.Write(content)
	return digestOf(h)
}

func digestOf(h hash.Hash) Digest { return Digest("sha256:" + hex.EncodeToString(h.Sum(nil))) }

// Hex gives the digits.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), "sha256:") }

// String gives the digest with its algorithm.
func (d Digest) String() string { return string(d) }

// A Descriptor names a blob and says what it is (descriptor.md).
type Descriptor struct {
	// MediaType says what the blob is.
	MediaType string `json:"mediaType,omitempty"`
	// Digest of the blob's bytes.
	Digest Digest `json:"digest"`
	// Size counts the blob's bytes.
	Size int64 `json:"size"`
	// Annotations hold, in an index, names and whatever tools note.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Platform is what the blob is made for; nil if it does not say.
	Platform *Platform `json:"platform,omitempty"`
}

// A Platform is what an image is made for, in Go's words, as in linux, amd64.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// An Index lists images, by name or by platform (image-index.md).
type Index struct {
	SchemaVersion int          `json:"schemaVersion"` // always 2
	MediaType     string       `json:"mediaType,omitempty"`
	Manifests     []Descriptor `json:"manifests"`
}

// A Manifest lists the blobs that make an image (manifest.md).
type Manifest struct {
	SchemaVersion int        `json:"schemaVersion"` // always 2
	MediaType     string     `json:"mediaType,omitempty"`
	Config        Descriptor `json:"config"`
	// Layers in the order to apply them: the bottom first.
	Layers []Descriptor `json:"layers"`
}

// A Config is an image's configuration (config.md).
type Config struct {
	// Created is nil if the image does not say.
	Created *time.Time `json:"created,omitempty"`
	Author  string     `json:"author,omitempty"`
	Platform
	// Config is how to run the image's program.
	Config  RunConfig `json:"config"`
	RootFS  RootFS    `json:"rootfs"`
	History []History `json:"history,omitempty"`
}

// RunConfig is how to run an image's program, unless the user says otherwise.
// All fields may be empty.
type RunConfig struct {
	// User is a name or a number, optionally with ":" and a group.
	User string `json:"User,omitempty"`
	// ExposedPorts are "80/tcp", "53/udp"; without a protocol it is tcp.
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	// Env are NAME=VALUE.
	Env []string `json:"Env,omitempty"`
	// Entrypoint is the program and its first arguments.
	Entrypoint []string `json:"Entrypoint,omitempty"`
	// Cmd are further arguments, or the command if there is no Entrypoint.
	Cmd []string `json:"Cmd,omitempty"`
	// Volumes are paths that are to be kept outside the container's layer.
	Volumes map[string]struct{} `json:"Volumes,omitempty"`
	// WorkingDir is where the program starts; "" is "/".
	WorkingDir string `json:"WorkingDir,omitempty"`
	// Labels are for people and tools.
	Labels map[string]string `json:"Labels,omitempty"`
	// StopSignal is a name or a number, "SIGTERM", "15"; "" is SIGTERM.
	StopSignal string `json:"StopSignal,omitempty"`
}

// RootFS lists the layers by what they are uncompressed.
type RootFS struct {
	Type string `json:"type"` // always "layers"
	// DiffIDs are the digests of the uncompressed layers, the bottom first.
	DiffIDs []Digest `json:"diff_ids"`
}

// History tells how a layer, or a change of the configuration, came about.
type History struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}
