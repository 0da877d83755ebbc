// Package image keeps container images on disk and unpacks their layers.
//
// An image is three kinds of files, each named by the SHA-256 of its bytes:
//
//   - layers: tar archives, mostly compressed. The first is a root file system;
//     each further one says what changed: files added or replaced, and, as empty
//     files called .wh.NAME (whiteouts), names that are gone.
//   - a configuration: a JSON document with the command, environment, user and
//     working directory, and the digests of the uncompressed layers (diff ids).
//     Its digest is the image's ID.
//   - a manifest: a JSON document listing the configuration and the layers.
//
// A name such as httpd:latest is only a line in index.json that points to a
// manifest; for several platforms there is an index of manifests in between.
//
// # How overlayfs puts layers together
//
// Every layer is unpacked once, into a directory of its own. The kernel's
// overlayfs lays the directories on top of each other: a name is looked up in
// the topmost directory first, directories of the same name are merged, and a
// character device with number 0:0 hides the name below it. A directory with
// the extended attribute trusted.overlay.opaque=y hides the whole directory
// below. Writes go to one more directory on top, which belongs to the
// container, so that all containers of all images can share the layers.
// Unpacking therefore means: turn each .wh.NAME into a 0:0 device, each
// .wh..wh..opq into that attribute, and everything else into itself.
//
// # On disk
//
//	ROOT/oci-layout            "this is an OCI image layout"
//	ROOT/index.json            names and the manifests they point to
//	ROOT/blobs/sha256/HEX      manifests, configurations, layers as they came
//	ROOT/layers/HEX/           unpacked layers by diff id, shared by all images
//	ROOT/tmp/                  everything in the making
//	ROOT/lock                  shared: loading or about to use; exclusive: deleting
//	ROOT/index.lock            exclusive: changing index.json
//
// ROOT is itself an OCI image layout and can be given to other tools, or to
// [Store.LoadDirectory] of another store.
//
// A load makes everything in one directory under tmp/, checks it, syncs it, and
// then renames the pieces into place, the name in index.json last. A process
// killed at any moment leaves at most a directory under tmp/, which the next
// writer sweeps away, or finished blobs no name points to, which the next
// [Store.Remove] deletes.
//
// ROOT and what is in it belong to root or the caller, who alone can change them, and
// no link in it is followed: see package private.
//
// # Archives are hostile
//
// Whoever made an archive may want it to write elsewhere. So every name is
// taken apart here. The directory part is opened by openat2(2), which may follow no
// symbolic link; if there is one, the directories on the way are opened one by one
// below the layer's directory, so that "/" and ".." mean the layer. The last component
// is created, never followed, relative to that descriptor. Digests and sizes of
// all blobs and of the uncompressed layers are checked, and [Limits] bound what
// an archive may grow to.
//
// The work grows no faster than the archive, too: what links lead through is bounded by
// the number of entries, and what has been checked once is not checked again.
//
// # Rootless
//
// The kernel lets an ordinary user create 0:0 devices (since Linux 5.8) and
// mount overlayfs in a user namespace (since Linux 5.11) with the option
// userxattr, for which the attribute is user.overlay.opaque. With [Mine] all
// files belong to the caller and owners are forgotten; see [Ownership].
//
// # What it leaves out
//
// What a registry is ([Store.Pull] is given something that fetches blobs),
// mounting, building and pushing. Layers are shared by diff id alone and so
// know nothing of the layers below: a directory that an archive implies but
// does not list gets mode 0755 and hides the mode it had below, and a hard link
// to a file of a lower layer is an error. (Engines that unpack one layer on top
// of the other can differ in these two cases.) A hard link's own mode, owner
// and time are ignored: the first entry of the file has said them. Names more
// than 255 directories deep are refused. Decompressing zstd is left to the zstd
// command. Platforms other than linux/GOARCH are passed over, layers encrypted
// or held elsewhere
// ("foreign", "nondistributable") are refused.
//
// # More
//
// [OCI image specification]: image-layout.md, image-index.md, manifest.md,
// config.md, layer.md (whiteouts). Manual pages: [openat2(2)], [mknod(2)],
// [xattr(7)], [flock(2)], [capabilities(7)]. The kernel's [overlayfs.rst].
//
// [OCI image specification]: https://github.com/opencontainers/image-spec/blob/main/spec.md
// [openat2(2)]: https://man7.org/linux/man-pages/man2/openat2.2.html
// [mknod(2)]: https://man7.org/linux/man-pages/man2/mknod.2.html
// [xattr(7)]: https://man7.org/linux/man-pages/man7/xattr.7.html
// [flock(2)]: https://man7.org/linux/man-pages/man2/flock.2.html
// [capabilities(7)]: https://man7.org/linux/man-pages/man7/capabilities.7.html
// [overlayfs.rst]: https://docs.kernel.org/filesystems/overlayfs.html
package image
