/* The text that a guest's clipboard and those of its viewers share, while a guest's agent is there for it
 * (core/chardev_vdagent.c). Main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct vm;

enum { CLIPBOARD_MOST = 1 << 20 }; /* bytes; longer text is not shared */

/* One that has a clipboard: the guest, a viewer. */
struct clipboard_peer {
    /* Somebody else's text is the newest: clipboard_text. */
    void (*changed)(struct clipboard_peer *peer);
    bool is_guest;
    struct clipboard_peer *next;
};
void clipboard_join(struct vm *vm, struct clipboard_peer *peer);
/* One that is not in it is fine. */
void clipboard_leave(struct vm *vm, struct clipboard_peer *peer);
/* This peer has new text. Bytes that are no UTF-8 become question marks, and it ends before a NUL. Nothing happens
 * if it is the same or too long, or no guest is there to share it with. */
void clipboard_set(struct vm *vm, const struct clipboard_peer *from, const char *text, size_t n);
/* UTF-8 with a NUL behind it; NULL: there is none. */
const char *clipboard_text(const struct vm *vm, size_t *n);
/* Is there a guest that shares? */
bool clipboard_has_guest(const struct vm *vm);
void clipboard_free(struct vm *vm);
