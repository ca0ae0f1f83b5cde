#include "core/clipboard.h"

#include "core/util.h"
#include "core/vm.h"

#include <stdlib.h>
#include <string.h>

struct clipboard {
    struct clipboard_peer *peers;
    char *text;
    size_t n;
};

void clipboard_join(struct vm *vm, struct clipboard_peer *peer)
{
    if (!vm->clipboard)
        vm->clipboard = xcalloc(1, sizeof(*vm->clipboard));
    peer->next = vm->clipboard->peers;
    vm->clipboard->peers = peer;
}

void clipboard_leave(struct vm *vm, struct clipboard_peer *peer)
{
    struct clipboard_peer **at = vm->clipboard ? &vm->clipboard->peers : NULL;
    while (at && *at && *at != peer)
        at = &(*at)->next;
    if (at && *at)
        *at = peer->next;
}

/* Bytes of the character at the head of n; 0: it is none (RFC 3629, 4). */
static size_t character_length(const uint8_t *s, size_t n)
{
    static const struct {
        uint8_t first, last, second, second_last, n;
    } kinds[] = {
        { 0x01, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
        { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (s[0] < kinds[i].first || s[0] > kinds[i].last || kinds[i].n > n)
            continue;
        bool good = kinds[i].n == 1 || (s[1] >= kinds[i].second && s[1] <= kinds[i].second_last);
        for (size_t k = 2; k < kinds[i].n; k++)
            good &= (s[k] & 0xc0) == 0x80;
        return good ? kinds[i].n : 0;
    }
    return 0;
}

static void make_utf8(char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = character_length((const uint8_t *)text + i, n - i);
        if (!length)
            text[i] = '?';
        i += MAX(length, 1u);
    }
}

void clipboard_set(struct vm *vm, const struct clipboard_peer *from, const char *text, size_t n)
{
    struct clipboard *c = vm->clipboard;
    n = strnlen(text, n);
    if (!clipboard_has_guest(vm) || n > CLIPBOARD_MOST)
        return;
    char *copy = xmalloc(n + 1);
    memcpy(copy, text, n);
    copy[n] = 0;
    make_utf8(copy, n);
    if (c->text && c->n == n && !memcmp(c->text, copy, n)) {
        free(copy);
        return;
    }
    free(c->text);
    c->text = copy;
    c->n = n;
    for (struct clipboard_peer *p = c->peers; p; p = p->next)
        if (p != from)
            p->changed(p);
}

const char *clipboard_text(const struct vm *vm, size_t *n)
{
    *n = vm->clipboard ? vm->clipboard->n : 0;
    return vm->clipboard ? vm->clipboard->text : NULL;
}

bool clipboard_has_guest(const struct vm *vm)
{
    const struct clipboard_peer *p = vm->clipboard ? vm->clipboard->peers : NULL;
    while (p && !p->is_guest)
        p = p->next;
    return p != NULL;
}

void clipboard_free(struct vm *vm)
{
    if (vm->clipboard)
        free(vm->clipboard->text);
    free(vm->clipboard);
    vm->clipboard = NULL;
}
