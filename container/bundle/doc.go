// Package bundle turns an image and what the user asked for into an OCI bundle:
// a directory with a config.json and a root directory.
//
// An image says which files and which program. minirunc must know much more: which
// namespaces, mounts, user and limits. This package fills the gap with the defaults
// that Docker has; all of them are in spec.go. The result is a bundle like any other:
//
//	/var/lib/minirun/containers/<id>/
//	  config.json     the runtime-spec; its annotations carry name and image
//	  rootfs/         empty: the overlay appears only inside the container
//	  upper/ work/    what the container writes, and overlayfs's scratch space
//	  hosts hostname resolv.conf   what the container has in /etc (etc.go)
//	  l/              short names of the layers, if there are many (image.go)
//	  stdout stderr   the log of a detached container: what its descriptors 1 and 2 are
//	/var/lib/minirun/names/<name>      a link to the container's directory
//
// The link makes names unique: symlink(2) does not replace.
//
// Who the image's user is, and where its /etc is, is looked up in the root directory that the
// container will see (image.View): layers, links, whiteouts and volumes count.
//
// Left out: several networks, and IPv6; volumes with names. What an image
// declares as volumes are directories of the container that can always be written to.
//
// Sources: the image-spec's conversion.md, the runtime-spec's config.md,
// [overlayfs].
//
// A name is a link that is made before the directory and removed after it, and of the
// directory config.json goes last. So whoever is killed, or fails, leaves a bundle that
// has its name and says what it is, or a link to nothing, which the next to want the
// name removes. What is damaged is listed as far as it can be, and rm -f removes it.
//
// [overlayfs]: https://docs.kernel.org/filesystems/overlayfs.html
package bundle
