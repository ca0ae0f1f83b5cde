/* Any bytes as a file of kept translations: as it stands, or a good one with bytes changed, cut, or lengthened, and its
 * sums made right again, so that what is behind them is reached. And any bytes as a record of a unit. Nothing may come
 * of it but records of the size they have. */
#include "tcg/store.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/util.h"
#include "tape.h"
#include "tcg/persist.h"
#include "tcg/store_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const uint64_t identity[2] = { 11, 22 }, no_key[2];
enum { LIMIT = 1 << 16, ROOM = 1 << 16, N_HASHES = 8 };

static struct store *open_store(const char *path)
{
    struct store_options o = { .path = path, .max_bytes = LIMIT, .identity = { 11, 22 } };
    struct store *s = NULL;
    error_free(store_open(&o, &s));
    return s;
}

static void add(struct store *s, struct tape *t)
{
    size_t n = tape_u8(t) * 4;
    uint8_t *p = store_add(s, tape_u8(t) % N_HASHES, n);
    for (size_t i = 0; p && i < n; i++)
        p[i] = tape_u8(t);
}

/* Every byte of every record is looked at. */
static unsigned look(struct store *s)
{
    unsigned sum = 0;
    for (unsigned hash = 0; hash < N_HASHES; hash++) {
        uint32_t cursor = 0;
        size_t n;
        for (const uint8_t *p; (p = store_find(s, hash, &cursor, &n));) {
            for (size_t i = 0; i < n; i++)
                sum += p[i];
            store_used(s, cursor);
            sum += persist_is_unit(p, n);
        }
    }
    return sum;
}

/* Sums as the file's writer would have made them, as far as they lie inside. */
static void make_right(uint8_t *file, size_t n)
{
    for (unsigned k = 0; k < STORE_HEADERS; k++) {
        struct store_header h;
        if (n < k * STORE_HEADER_ROOM + sizeof(h))
            return;
        memcpy(&h, file + k * STORE_HEADER_ROOM, sizeof(h));
        uint64_t size = (uint64_t)h.n_records * sizeof(struct store_line);
        if (h.at <= n && h.index <= n - h.at && size <= n - h.at - h.index) {
            for (uint32_t i = 0; i < h.n_records; i++) {
                struct store_line l;
                uint8_t *at = file + h.at + h.index + i * sizeof(l);
                memcpy(&l, at, sizeof(l));
                if (l.at > h.index || l.n > h.index - l.at)
                    continue;
                l.sum = sum64(identity, file + h.at + l.at, l.n);
                memcpy(at, &l, sizeof(l));
            }
            h.index_sum = sum64(identity, file + h.at + h.index, size);
        }
        h.sum = sum64(no_key, &h, offsetof(struct store_header, sum));
        memcpy(file + k * STORE_HEADER_ROOM, &h, sizeof(h));
    }
}

static size_t read_file(const char *path, uint8_t *to)
{
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(to, 1, ROOM, f) : 0;
    if (f)
        fclose(f);
    return n;
}

static void write_file(const char *path, const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(path, "w");
    if (!f)
        abort();
    fwrite(bytes, 1, n, f);
    fclose(f);
    chmod(path, 0600);
}

/* Where there is something to hit: headers, first records, index. */
static size_t place(struct tape *t, const uint8_t *file, size_t n)
{
    uint8_t where = tape_u8(t);
    uint16_t off = tape_u16(t);
    struct store_header h = { 0 };
    memcpy(&h, file + STORE_HEADER_ROOM, MIN(sizeof(h), n - STORE_HEADER_ROOM));
    switch (where % 4) {
    case 0: return STORE_HEADER_ROOM + off % sizeof(h);
    case 1: return off % sizeof(h);
    case 2: return STORE_FIRST_REGION + off % 256;
    default: return (size_t)(h.at + h.index + off % 256);
    }
}

static void change(struct tape *t, uint8_t *file, size_t *n)
{
    for (unsigned k = tape_u8(t) % 8; k; k--) {
        if (*n < STORE_FIRST_REGION)
            return;
        size_t at = place(t, file, *n);
        uint8_t v = tape_u8(t);
        if (at < *n)
            file[at] = v;
    }
    uint8_t how = tape_u8(t);
    if (how & 1)
        *n = tape_u16(t) % (*n + 1);
    if (how & 2) {
        size_t longer = *n + tape_u16(t);
        *n = MIN(longer, ROOM);
    }
    if (how & 4 && *n >= STORE_FIRST_REGION)
        memcpy(file, file + STORE_HEADER_ROOM, sizeof(struct store_header));
    if (how & 8 || how & 16)
        make_right(file, *n);
}

static void try_record(struct tape *t)
{
    size_t n = tape_left(t);
    uint8_t *exact = malloc(n ? n : 1); /* its end is the heap's business */
    memcpy(exact, t->at, n);
    (void)persist_is_unit(exact, n);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static uint8_t file[ROOM];
    char memory[] = "/dev/shm/tandem-fuzz-store.XXXXXX", disk[] = "/tmp/tandem-fuzz-store.XXXXXX",
         path[64];
    struct tape t = { bytes, n };
    uint8_t kind = tape_u8(&t);
    size_t size = 0;
    if (kind % 4 == 3) {
        try_record(&t);
        return 0;
    }
    const char *folder =
        mkdtemp(memory) ? memory : mkdtemp(disk); /* where flushing takes no time */
    if (!folder)
        abort();
    snprintf(path, sizeof(path), "%s/units", folder);
    memset(file, 0, sizeof(file));
    if (kind % 4 == 2) {
        size = MIN(tape_left(&t), ROOM);
        memcpy(file, t.at, size);
    } else {
        struct store *s = open_store(path);
        for (unsigned k = tape_u8(&t) % 16; s && k; k--)
            add(s, &t);
        if (s)
            error_free(store_save(s));
        store_free(s);
        size = read_file(path, file);
        change(&t, file, &size);
    }
    write_file(path, file, size);
    struct store *s = open_store(path);
    if (s) {
        look(s);
        for (unsigned k = tape_u8(&t) % 4; k; k--)
            add(s, &t);
        error_free(store_save(s));
        store_free(s);
        s = open_store(path); /* what was saved is in order */
        if (s)
            look(s);
        store_free(s);
    }
    unlink(path);
    rmdir(folder);
    return 0;
}
