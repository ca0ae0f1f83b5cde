/* What the command line names and devices use by id: drives, network and character back ends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct blk;
struct chardev;
struct error;
struct netdev;
struct vm;

/* Each id is used by at most one device: take marks it used (error if it is, or if it does not
 * exist, with the nearest name). give_back undoes that. */
struct error *backend_take_drive(struct vm *vm, const char *id, struct blk **out);
struct error *backend_take_netdev(struct vm *vm, const char *id, struct netdev **out);
struct error *backend_take_chardev(struct vm *vm, const char *id, struct chardev **out);
void backend_give_back(struct vm *vm, void *backend);

/* Register one under its id; the VM owns it and calls `free` at its end. Error: id in use. */
enum backend_kind { BACKEND_DRIVE, BACKEND_NETDEV, BACKEND_CHARDEV, BACKEND_OBJECT, BACKEND_IOTHREAD, BACKEND_AUDIO };
struct error *backend_add(struct vm *vm, enum backend_kind kind, const char *id, void *backend,
                          void (*free)(void *backend));
/* As backend_find, for one of several users; also undone by backend_give_back. */
void *backend_hold(struct vm *vm, enum backend_kind kind, const char *id);
bool backend_in_use(struct vm *vm, enum backend_kind kind, const char *id);
/* Take it out and free it. Error: there is none, or somebody uses it. Main loop's thread. */
struct error *backend_remove(struct vm *vm, enum backend_kind kind, const char *id);
/* What it is registered as (a mux's port: the mux); NULL: it is not. */
const char *backend_id(struct vm *vm, const void *backend);
void *backend_find(struct vm *vm, enum backend_kind kind, const char *id);
void backends_free(struct vm *vm);
/* Are there any? Any thread. */
bool backends_any(const struct vm *vm);
/* Visit all, in order of creation. */
void backends_each(struct vm *vm,
                   void (*visit)(void *opaque, enum backend_kind kind, const char *id, void *backend),
                   void *opaque);
