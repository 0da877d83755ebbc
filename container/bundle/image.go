package bundle

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is about what images have rarely: many layers or none, and volumes.

// manyLayers is how many layers a mount has room for by their own names: all options of a
// mount must fit in a page, and each layer takes 72 bytes of it. More get short names,
// links in the directory l of the bundle. The kernel follows them when it mounts.
const manyLayers = 40

// lowerDirs are the directories that overlayfs puts on top of each other: the layers, by
// short names if there are many. If there are none it is an empty directory, because
// overlayfs wants one.
func (b *Bundle) lowerDirs(layers []string) []string {
	links := filepath.Join(b.Dir, "l")
	switch {
	case len(layers) == 0:
		return []string{links}
	case len(layers) <= manyLayers:
		return layers
	}
	short := make([]string, len(layers))
	for i := range layers {
		short[i] = filepath.Join(links, strconv.Itoa(i))
	}
	return short
}

// linkLayers makes what lowerDirs names and the image does not have.
func (b *Bundle) linkLayers(layers []string) error {
	lower := b.lowerDirs(layers)
	if slices.Equal(lower, layers) {
		return nil
	}
	if err := os.Mkdir(filepath.Join(b.Dir, "l"), 0o700); err != nil {
		return err
	}
	for i, layer := range layers {
		if err := os.Symlink(layer, lower[i]); err != nil {
			return err
		}
	}
	return nil
}

// diffIDs are the ids of the layers, as the annotation [Layers] has them.
func diffIDs(layers []string) string {
	var ids []string
	for _, dir := range layers {
		ids = append(ids, filepath.Base(dir))
	}
	return strings.Join(ids, ",")
}

// UsesLayer says whether the container's root directory is made of a layer, given by the
// hexadecimal digits of its diff id.
func (b *Bundle) UsesLayer(id string) bool {
	return slices.ContainsFunc(b.Spec.Mounts, func(m specs.Mount) bool {
		return m.Type == "overlay" && strings.Contains(strings.Join(m.Options, ","), id)
	}) || slices.Contains(strings.Split(b.Annotation(Layers), ","), id)
}

// maxVolumes is more than any honest image has.
const maxVolumes = 256

// imageVolumes are the directories in which the image's program keeps its data: they
// exist, and can be written to also if the root is read-only. The data is in the bundle,
// with all else that the container writes, and is removed with it. Why are they mounted
// before all others? Then only the image's own files are there, and no link in it can lead
// to what is mounted later. What is below those mounts would be covered: it is left out.
func (b *Bundle) imageVolumes(img *image.Image) ([]specs.Mount, error) {
	if len(img.Config.Config.Volumes) > maxVolumes {
		return nil, fmt.Errorf("image %s: %d volumes, more than %d", name(img), len(img.Config.Config.Volumes), maxVolumes)
	}
	var list []specs.Mount
	for _, volume := range slices.Sorted(maps.Keys(img.Config.Config.Volumes)) {
		at := path.Join("/", volume)
		top, _, _ := strings.Cut(at[1:], "/")
		if top == "" || top == "proc" || top == "sys" || top == "dev" {
			continue
		}
		list = append(list, specs.Mount{Destination: at, Type: "bind", Source: filepath.Join(b.Dir, "rootfs", at), Options: []string{"rbind"}})
	}
	return list, nil
}
