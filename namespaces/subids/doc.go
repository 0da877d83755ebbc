// Package subids writes the id maps of a user namespace that an ordinary user makes.
//
// Root can map any ids. An ordinary user can map only one user and one group,
// the own ones; and the group only after giving up setgroups(2) in the namespace,
// since a group can also be there to deny its members something.
//
// For more ids there are /etc/subuid and /etc/subgid, in which root gives users
// ranges of subordinate ids, and two programs that have the privilege to map
// these: newuidmap(1) and newgidmap(1).
//
// Maps that root writes are part of package namespaces.
//
// Man pages: [user_namespaces(7)], [subuid(5)], [newuidmap(1)].
//
// [user_namespaces(7)]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
// [subuid(5)]: https://man7.org/linux/man-pages/man5/subuid.5.html
// [newuidmap(1)]: https://man7.org/linux/man-pages/man1/newuidmap.1.html
package subids
