/* Section numbers: ACPI 6.4. */
#include "hw/firmware/aml.h"

#include <assert.h>
#include <stdio.h>

enum { /* 20.3 */
       OP_ZERO = 0x00,
       OP_ONE = 0x01,
       OP_NAME = 0x08,
       OP_BYTE = 0x0a,
       OP_WORD = 0x0b,
       OP_DWORD = 0x0c,
       OP_STRING = 0x0d,
       OP_QWORD = 0x0e,
       OP_SCOPE = 0x10,
       OP_BUFFER = 0x11,
       OP_PACKAGE = 0x12,
       OP_METHOD = 0x14,
       OP_DUAL_NAME = 0x2e,
       OP_MULTI_NAME = 0x2f,
       OP_EXTENDED = 0x5b,
       OP_DEVICE = 0x82, /* behind OP_EXTENDED */
       OP_IF = 0xa0,
       OP_RETURN = 0xa4,
};

static void byte(struct aml *a, unsigned value)
{
    blob_num(&a->out, 1, value);
}

/* ---- names and values ------------------------------------------------------------------------- */
/* 20.2.2 */
void aml_path(struct aml *a, const char *name)
{
    unsigned n = 1;
    if (*name == '\\') {
        byte(a, '\\');
        name++;
    }
    for (const char *at = name; *at; at++)
        n += *at == '.';
    if (n == 2)
        byte(a, OP_DUAL_NAME);
    if (n > 2) {
        byte(a, OP_MULTI_NAME);
        byte(a, n);
    }
    while (n--) {
        char segment[5] = "";
        size_t length = strcspn(name, ".");
        assert(length && length < sizeof(segment));
        memcpy(segment, name, length);
        blob_text(&a->out, segment, 4, '_');
        name += length + (name[length] == '.');
    }
}

void aml_int(struct aml *a, uint64_t value)
{
    static const struct {
        uint64_t most;
        uint8_t op, size;
    } forms[] = {
        { UINT8_MAX, OP_BYTE, 1 },
        { UINT16_MAX, OP_WORD, 2 },
        { UINT32_MAX, OP_DWORD, 4 },
        { UINT64_MAX, OP_QWORD, 8 },
    };
    unsigned i = 0;
    if (value < 2) {
        byte(a, value ? OP_ONE : OP_ZERO);
        return;
    }
    while (value > forms[i].most)
        i++;
    byte(a, forms[i].op);
    blob_num(&a->out, forms[i].size, value);
}

void aml_string(struct aml *a, const char *text)
{
    byte(a, OP_STRING);
    blob_add(&a->out, text, strlen(text) + 1);
}

/* 19.3.4: three letters of five bits, four hex digits, all big-endian. */
void aml_eisa_id(struct aml *a, const char *id)
{
    unsigned digits = 0;
    assert(strlen(id) == 7);
    sscanf(id + 3, "%4x", &digits);
    unsigned letters = (id[0] - '@') << 10 | (id[1] - '@') << 5 | (id[2] - '@');
    byte(a, OP_DWORD);
    blob_num(&a->out, 4, __builtin_bswap32(letters << 16 | digits));
}

void aml_name(struct aml *a, const char *name)
{
    byte(a, OP_NAME);
    aml_path(a, name);
}

void aml_name_int(struct aml *a, const char *name, uint64_t value)
{
    aml_name(a, name);
    aml_int(a, value);
}

void aml_name_string(struct aml *a, const char *name, const char *text)
{
    aml_name(a, name);
    aml_string(a, text);
}

void aml_name_eisa_id(struct aml *a, const char *name, const char *id)
{
    aml_name(a, name);
    aml_eisa_id(a, id);
}

void aml_return(struct aml *a)
{
    byte(a, OP_RETURN);
}

/* ---- what has an end --------------------------------------------------------------------------- */
static void open_package(struct aml *a)
{
    assert(a->depth < AML_MAX_DEPTH);
    a->open[a->depth].at = a->out.n;
    a->open[a->depth].template = 0;
    a->depth++;
}

void aml_scope(struct aml *a, const char *name)
{
    byte(a, OP_SCOPE);
    open_package(a);
    aml_path(a, name);
}

void aml_device(struct aml *a, const char *name)
{
    byte(a, OP_EXTENDED);
    byte(a, OP_DEVICE);
    open_package(a);
    aml_path(a, name);
}

void aml_method(struct aml *a, const char *name, unsigned n_args)
{
    byte(a, OP_METHOD);
    open_package(a);
    aml_path(a, name);
    byte(a, n_args);
}

void aml_if(struct aml *a)
{
    byte(a, OP_IF);
    open_package(a);
}

void aml_package(struct aml *a, uint8_t n_elements)
{
    byte(a, OP_PACKAGE);
    open_package(a);
    byte(a, n_elements);
}

void aml_template(struct aml *a)
{
    byte(a, OP_BUFFER);
    open_package(a);
    byte(a, OP_WORD);
    a->open[a->depth - 1].template = a->out.n;
    blob_num(&a->out, 2, 0);
}

/* 6.4.2.9: the end tag, whose checksum of 0 means that there is none. */
static void end_template(struct aml *a, size_t size_at)
{
    byte(a, 0x79);
    byte(a, 0);
    store_le(a->out.at + size_at, 2, a->out.n - size_at - 2);
}

/* 20.2.4: PkgLength counts itself, so it goes in when the rest is there. */
void aml_end(struct aml *a)
{
    assert(a->depth);
    size_t at = a->open[--a->depth].at, size_at = a->open[a->depth].template;
    if (size_at)
        end_template(a, size_at);
    size_t n = a->out.n - at;
    unsigned more = n + 1 < 1 << 6 ? 0 : n + 2 < 1 << 12 ? 1 : n + 3 < 1 << 20 ? 2 : 3;
    size_t all = n + 1 + more;
    assert(all < 1 << 28);
    blob_grow(&a->out, 1 + more);
    uint8_t *to = a->out.at + at;
    memmove(to + 1 + more, to, n);
    to[0] = more ? (uint8_t)(more << 6 | (all & 0xf)) : (uint8_t)all;
    for (unsigned i = 0; i < more; i++)
        to[1 + i] = (uint8_t)(all >> (4 + 8 * i));
}

/* ---- resources --------------------------------------------------------------------------------- */
void aml_io(struct aml *a, uint16_t port, uint8_t n) /* 6.4.2.5 */
{
    byte(a, 0x47);
    byte(a, 1); /* decodes 16 bits */
    blob_num(&a->out, 2, port);
    blob_num(&a->out, 2, port);
    byte(a, 0);
    byte(a, n);
}

void aml_irq(struct aml *a, unsigned irq) /* 6.4.2.1 */
{
    byte(a, 0x22);
    blob_num(&a->out, 2, 1u << irq);
}

void aml_gsi(struct aml *a, uint32_t gsi, bool edge) /* 6.4.3.6 */
{
    byte(a, 0x89);
    blob_num(&a->out, 2, 6);
    byte(a, 1 | (edge ? 2 : 0)); /* consumer, exclusive, active high */
    byte(a, 1);
    blob_num(&a->out, 4, gsi);
}

void aml_memory32(struct aml *a, uint32_t at, uint32_t size) /* 6.4.3.4 */
{
    byte(a, 0x86);
    blob_num(&a->out, 2, 9);
    byte(a, 1); /* writable */
    blob_num(&a->out, 4, at);
    blob_num(&a->out, 4, size);
}

/* 6.4.3.5: an address space descriptor with both ends fixed, numbers of `size` bytes. */
static void window(struct aml *a, uint8_t kind, unsigned flags, unsigned size, uint64_t at,
                   uint64_t n)
{
    enum { FIXED = 3 << 2 };
    const uint64_t numbers[] = { 0, at, at + n - 1, 0, n };
    byte(a, size == 2 ? 0x88 : size == 4 ? 0x87 : 0x8a);
    blob_num(&a->out, 2, 3 + 5 * size);
    byte(a, kind);
    byte(a, FIXED);
    byte(a, flags);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        blob_num(&a->out, size, numbers[i]);
}

void aml_window_bus(struct aml *a, uint16_t first, uint16_t n)
{
    window(a, 2, 0, 2, first, n);
}

/* The whole of 64 KiB has no length in 16 bits. */
void aml_window_io(struct aml *a, uint32_t at, uint32_t size)
{
    enum { ENTIRE_RANGE = 3 };
    window(a, 1, ENTIRE_RANGE, size > UINT16_MAX ? 4 : 2, at, size);
}

void aml_window_memory(struct aml *a, uint64_t at, uint64_t size)
{
    enum { WRITABLE = 1 };
    window(a, 0, WRITABLE, at + size - 1 > UINT32_MAX ? 8 : 4, at, size);
}
