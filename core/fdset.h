/* Descriptors that management hands in over a socket: by name, for the next command that uses it (getfd), and in
 * numbered sets, which paths "/dev/fdset/N" open (add-fd). Main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;
struct vm;

/* The VM owns fd from now on; an older one of this name is closed. */
void fd_keep_named(struct vm *vm, const char *name, int fd);
/* The caller owns it from now on; -1: there is none of this name. */
int fd_take_named(struct vm *vm, const char *name);

struct fdset_fd {
    int64_t set;
    int fd;
    char *opaque; /* what was said about it; NULL: nothing */
};
/* Into set `set`, made if need be; -1: a new one. Gives the set's number; the VM owns fd. */
int64_t fdset_add(struct vm *vm, int64_t set, int fd, const char *opaque);
/* Close fd of this set, or all of it (fd -1). False: there is none. */
bool fdset_remove(struct vm *vm, int64_t set, int fd);
void fdset_each(struct vm *vm, void (*visit)(void *opaque, const struct fdset_fd *f), void *opaque);
/* As open(2), and "/dev/fdset/N" is a duplicate of that set's descriptor with the access that `flags` ask for.
 * -1 and errno. */
int fdset_open(struct vm *vm, const char *path, int flags, int mode);

void fds_free(struct vm *vm); /* for core/vm.c */
