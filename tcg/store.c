/* The file of kept records (store_format.h): opening, checking, finding, saving.
 *
 * What is saved goes behind the region, or, when too much of that is dead or it is full, to where the region is not;
 * then it is flushed, then the other header is written. */
#include "tcg/store.h"
#include "tcg/store_format.h"

#include "core/error.h"
#include "core/hash.h"
#include "core/util.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK = 1 << 20,
    WORTH_SAVING = 1024, /* this many new records, */
    WORTH_PART = 64,     /* or one in so many */
    LOCK_TRIES = 200,    /* a hundredth of a second each */
    MOST_RECORDS = 1 << 24,
    WINDOW = 16384,
    N_WINDOWS = 64,
    MOST_BYTES = 1 << 18, /* of a record */
};
static const char magic[8] = STORE_MAGIC; /* without its end */
/* What is known of a record. */
struct entry {
    uint8_t *
        made; /* one of this run: its bytes, whose sum is made when it is saved; NULL: it is in the file */
    uint64_t hash, sum;
    uint64_t at; /* in the region of the file; NOT_THERE: not yet */
    uint32_t n, last_used;
    bool used;
    bool bad; /* failed its check, or is in the file no more */
};
#define NOT_THERE UINT64_MAX

/* Records of the file come through these: what was read last of each place modulo N_WINDOWS. */
struct window {
    uint64_t at; /* in the file */
    size_t n;    /* 0: nothing */
    _Alignas(8) uint8_t bytes[WINDOW];
};

/* Memory that records lie in. */
struct piece {
    struct piece *next;
    uint8_t *at;
    size_t size, used;
};

struct store {
    int fd;
    uint64_t max_bytes;
    uint64_t identity[2];
    struct store_header now; /* of the file, as we last saw it; sequence 0: there is none */
    uint64_t bytes;          /* of all records */
    uint32_t n, room;
    struct entry *entries;
    uint32_t *table; /* by hash: entry + 1; linear probing */
    uint32_t table_size;
    struct piece *pieces;
    struct window *windows;
    uint8_t *alone; /* a record that lies in two windows */
    struct store_counts counts;
};

static const uint64_t no_key[2];

/* ---- table --------------------------------------------------------------------------------------- */

static void table_put(struct store *s, uint32_t which)
{
    uint32_t mask = s->table_size - 1, k = (uint32_t)s->entries[which].hash & mask;
    while (s->table[k])
        k = (k + 1) & mask;
    s->table[k] = which + 1;
}

static void table_grow(struct store *s, uint32_t n)
{
    if (s->table && n <= s->table_size / 2)
        return;
    uint32_t size = s->table_size ? s->table_size : 1024;
    while (n > size / 2)
        size *= 2;
    free(s->table);
    s->table = xcalloc(size, sizeof(s->table[0]));
    s->table_size = size;
    for (uint32_t k = 0; k < s->n; k++)
        table_put(s, k);
}

static uint64_t room_of(uint32_t n)
{
    return align_up(n, 8);
}

static struct entry *entry_add(struct store *s, uint64_t hash, uint32_t n)
{
    if (s->n == s->room) {
        s->room = s->room ? 2 * s->room : 1024;
        s->entries = xrealloc(s->entries, s->room * sizeof(s->entries[0]));
    }
    table_grow(s, s->n + 1);
    struct entry *e = &s->entries[s->n];
    *e = (struct entry){ .hash = hash, .at = NOT_THERE, .n = n };
    s->bytes += room_of(n);
    table_put(s, s->n++);
    return e;
}

/* ---- the bytes of a record ----------------------------------------------------------------------- */

/* As many as there are, up to n. */
static size_t read_some(int fd, void *to, size_t n, uint64_t at)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (uint8_t *)to + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

static const uint8_t *read_record(struct store *s, const struct entry *e)
{
    uint64_t at = s->now.at + e->at, first = align_down(at, WINDOW);
    struct window *w = &s->windows[first / WINDOW % N_WINDOWS];
    if (at + e->n > first + WINDOW)
        return read_some(s->fd, s->alone, e->n, at) == e->n ? s->alone : NULL;
    if (!w->n || w->at != first) {
        w->at = first;
        w->n = read_some(s->fd, w->bytes, WINDOW, first);
    }
    return at - first + e->n <= w->n ? w->bytes + (at - first) : NULL;
}

static void forget_windows(struct store *s)
{
    for (unsigned k = 0; k < N_WINDOWS; k++)
        s->windows[k].n = 0;
}

/* NULL: it is not what it was. Nobody else can reach what was checked here. */
static const uint8_t *bytes_of(struct store *s, struct entry *e)
{
    if (e->made || e->bad)
        return e->made;
    const uint8_t *p = read_record(s, e);
    if (p && sum64(s->identity, p, e->n) == e->sum)
        return p;
    e->bad = true;
    s->counts.damaged++;
    return NULL;
}

const void *store_find(struct store *s, uint64_t hash, uint32_t *cursor, size_t *n)
{
    if (!s->n)
        return NULL;
    uint32_t mask = s->table_size - 1, k = *cursor ? *cursor : (uint32_t)hash & mask;
    for (uint32_t which; (which = s->table[k & mask]); k++) {
        struct entry *e = &s->entries[which - 1];
        const uint8_t *p = e->hash == hash ? bytes_of(s, e) : NULL;
        if (!p)
            continue;
        *cursor = (k & mask) + 1;
        *n = e->n;
        return p;
    }
    return NULL;
}

void store_used(struct store *s, uint32_t cursor)
{
    s->entries[s->table[cursor - 1] - 1].used = true;
}

/* ---- new records --------------------------------------------------------------------------------- */

static struct piece *piece_new(struct store *s, size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    struct piece *p = xmalloc(sizeof(*p));
    *p = (struct piece){ .next = s->pieces, .at = at, .size = size };
    return s->pieces = p;
}

void *store_add(struct store *s, uint64_t hash, size_t n)
{
    size_t size = align_up(n, 8);
    struct piece *p = s->pieces;
    if (n > MOST_BYTES || s->n == MOST_RECORDS || s->bytes + size > s->max_bytes + s->max_bytes / 2)
        return NULL;
    if (!p || p->size - p->used < size)
        p = piece_new(s, CHUNK);
    if (!p)
        return NULL;
    struct entry *e = entry_add(s, hash, (uint32_t)n);
    e->made = p->at + p->used;
    e->used = true;
    p->used += size;
    s->counts.added++;
    return e->made;
}

/* ---- the file, read ------------------------------------------------------------------------------ */

static uint64_t index_bytes(const struct store_header *h)
{
    return (uint64_t)h->n_records * sizeof(struct store_line);
}

static uint64_t region_end(const struct store_header *h)
{
    return h->at + h->index + index_bytes(h);
}

static bool header_is_good(const struct store_header *h, uint64_t file_size)
{
    return !memcmp(h->magic, magic, sizeof(magic)) && h->version == STORE_VERSION &&
           h->sum == sum64(no_key, h, offsetof(struct store_header, sum)) &&
           h->n_records <= MOST_RECORDS && h->at >= STORE_FIRST_REGION && h->at % 8 == 0 &&
           h->index % 8 == 0 && h->at <= file_size && h->index <= file_size - h->at &&
           index_bytes(h) <= file_size - h->at - h->index && h->sequence;
}

/* The header to believe, or one with sequence 0. *ours: it is such a file, or an empty one. */
static struct store_header read_header(int fd, bool *ours)
{
    struct store_header best = { .sequence = 0 }, h;
    struct stat st;
    *ours = !fstat(fd, &st) && st.st_size == 0;
    for (unsigned k = 0; k < STORE_HEADERS; k++) {
        if (read_some(fd, &h, sizeof(h), k * STORE_HEADER_ROOM) != sizeof(h))
            continue;
        *ours |= !memcmp(h.magic, magic, sizeof(magic));
        if (header_is_good(&h, (uint64_t)st.st_size) && h.sequence > best.sequence)
            best = h;
    }
    return best;
}

static bool is_for_us(const struct store *s, const struct store_header *h)
{
    return h->sequence && !memcmp(h->identity, s->identity, sizeof(s->identity));
}

/* The entry of the same record, if we have it. All have sums. */
static struct entry *same_record(struct store *s, const struct store_line *l)
{
    uint32_t mask = s->table_size - 1;
    for (uint32_t k = (uint32_t)l->hash & mask; s->n && s->table[k & mask]; k++) {
        struct entry *e = &s->entries[s->table[k & mask] - 1];
        if (e->hash == l->hash && e->n == l->n && e->sum == l->sum)
            return e;
    }
    return NULL;
}

static const char *take_lines(struct store *s, const struct store_header *h,
                              const struct store_line *lines)
{
    bool merge = s->n;
    if (sum64(s->identity, lines, index_bytes(h)) != h->index_sum)
        return "its index is damaged";
    table_grow(s, s->n + h->n_records);
    for (uint32_t k = 0; k < h->n_records; k++) {
        const struct store_line *l = &lines[k];
        if (l->at % 8 || l->n > MOST_BYTES || l->at > h->index || l->n > h->index - l->at)
            return "its index is wrong";
        struct entry *e = merge ? same_record(s, l) : NULL;
        if (!e)
            e = entry_add(s, l->hash, l->n);
        e->sum = l->sum;
        e->at = l->at;
        e->bad = false;
        e->last_used = MAX(e->last_used, l->last_used);
    }
    return NULL;
}

/* Take over the index of the file that `h` heads. Records that we have already are only told where they are. Why not,
 * or NULL. */
static const char *read_index(struct store *s, const struct store_header *h)
{
    size_t n = index_bytes(h);
    struct store_line *lines = malloc(n + 1);
    if (!lines)
        return "it does not fit into memory";
    const char *why = "it cannot be read";
    if (read_some(s->fd, lines, n, h->at + h->index) == n)
        why = take_lines(s, h, lines);
    free(lines);
    return why;
}

/* ---- opening ------------------------------------------------------------------------------------- */

static bool is_private(const struct stat *st)
{
    return !(st->st_mode & (S_IWGRP | S_IWOTH));
}

/* Others must not be able to put a file of theirs, or an old one of ours, into this place. */
static struct error *check_folder(int fd, const char *folder)
{
    struct stat st;
    if (fstat(fd, &st))
        return error_errno("cannot look at '%s'", folder);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return error_new("the folder '%s' belongs to another user", folder);
    if (!is_private(&st) && !(st.st_mode & S_ISVTX))
        return error_new("others may write to the folder '%s' (chmod go-w it, or use another)",
                         folder);
    return NULL;
}

static struct error *check_file(int fd)
{
    struct stat st;
    if (fstat(fd, &st))
        return error_errno("cannot look at it");
    if (!S_ISREG(st.st_mode))
        return error_new("it is not a plain file");
    if (st.st_uid != geteuid())
        return error_new("it belongs to another user");
    if (!is_private(&st))
        return error_new("others may write to it (chmod go-w it, if you know what is in it)");
    return NULL;
}

static struct error *open_file(const char *path, int *fd)
{
    char *a = xstrdup(path), *b = xstrdup(path);
    const char *folder = dirname(a), *name = basename(b);
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), flags = O_NOFOLLOW | O_CLOEXEC;
    struct error *err = NULL;
    *fd = -1;
    if (dir < 0)
        err = error_errno("cannot open the folder '%s'", folder);
    if (!err)
        err = check_folder(dir, folder);
    if (!err) {
        *fd = openat(dir, name, O_RDWR | O_NONBLOCK | flags);
        if (*fd < 0 && errno == ENOENT)
            *fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
        if (*fd < 0 && errno == EEXIST) /* another VM was faster */
            *fd = openat(dir, name, O_RDWR | O_NONBLOCK | flags);
        if (*fd < 0)
            err =
                errno == ELOOP ? error_new("it is a symbolic link") : error_errno("cannot open it");
    }
    if (!err)
        err = check_file(*fd);
    if (dir >= 0)
        close(dir);
    free(a);
    free(b);
    return err;
}

static struct error *lock(int fd, int how)
{
    const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
    for (unsigned k = 0; flock(fd, how | LOCK_NB); k++) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_errno("cannot lock it");
        if (k == LOCK_TRIES)
            return error_new("another process holds it locked");
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void forget(struct store *s)
{
    for (struct piece *p = s->pieces, *next; p; p = next) {
        next = p->next;
        munmap(p->at, p->size);
        free(p);
    }
    free(s->entries);
    free(s->table);
    s->pieces = NULL;
    s->entries = NULL;
    s->table = NULL;
    s->n = s->room = s->table_size = 0;
    s->bytes = 0;
}

static struct error *read_file(struct store *s)
{
    bool ours;
    s->now = read_header(s->fd, &ours);
    if (!ours)
        return error_new(
            "it is something else, not kept translations; name a file that is not there");
    struct stat st;
    if (!s->now.sequence && !fstat(s->fd, &st) && st.st_size)
        s->counts.anew = "its headers are damaged, or of another version";
    else if (s->now.sequence && !is_for_us(s, &s->now))
        s->counts.anew = "it is of another build of this program, host, guest or option";
    else if (s->now.sequence)
        s->counts.anew = read_index(s, &s->now);
    if (s->counts.anew)
        forget(s);
    s->counts.found_in_file = s->n;
    return NULL;
}

struct error *store_open(const struct store_options *o, struct store **out)
{
    struct store *s = xcalloc(1, sizeof(*s));
    s->windows = xcalloc(N_WINDOWS, sizeof(s->windows[0]));
    s->alone = xmalloc(MOST_BYTES);
    s->max_bytes = o->max_bytes;
    memcpy(s->identity, o->identity, sizeof(s->identity));
    struct error *err = open_file(o->path, &s->fd);
    if (!err)
        err = lock(s->fd, LOCK_SH);
    if (!err) {
        err = read_file(s);
        flock(s->fd, LOCK_UN);
    }
    if (err) {
        store_free(s);
        return err;
    }
    *out = s;
    return NULL;
}

void store_free(struct store *s)
{
    if (!s)
        return;
    forget(s);
    if (s->fd >= 0)
        close(s->fd);
    free(s->windows);
    free(s->alone);
    free(s);
}

void store_count(const struct store *s, struct store_counts *out)
{
    *out = s->counts;
}

/* ---- saving -------------------------------------------------------------------------------------- */

struct writer {
    int fd;
    uint8_t *bytes;
    size_t n;
    uint64_t at;
    bool failed;
};

static void flush(struct writer *w)
{
    for (size_t done = 0; done < w->n && !w->failed;) {
        ssize_t got = pwrite(w->fd, w->bytes + done, w->n - done, (off_t)(w->at + done));
        if (got < 0 && errno != EINTR)
            w->failed = true;
        done += got > 0 ? (size_t)got : 0;
    }
    w->at += w->n;
    w->n = 0;
}

static void write_bytes(struct writer *w, const void *bytes, size_t n)
{
    for (const uint8_t *from = bytes; n;) {
        size_t part = MIN(n, CHUNK - w->n);
        memcpy(w->bytes + w->n, from, part);
        w->n += part;
        from += part;
        n -= part;
        if (w->n == CHUNK)
            flush(w);
    }
}

/* What a save is going to do. */
struct plan {
    uint32_t *which; /* entries that are to be in the file, n of them */
    uint32_t n;
    uint64_t bytes; /* of records to be written */
    bool append;    /* behind what the region has; else all anew */
};

static int by_last_use(const void *a, const void *b, void *store)
{
    const struct entry *e = ((const struct store *)store)->entries;
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    if (e[i].last_used != e[k].last_used)
        return e[i].last_used < e[k].last_used ? 1 : -1;
    return i < k ? -1 : 1;
}

static bool is_new(const struct entry *e)
{
    return e->at == NOT_THERE && !e->bad;
}

/* All good ones, if there is room; else those that were used last, and some room for what comes. */
static void choose(struct store *s, struct plan *p)
{
    uint64_t all = 0, new = 0, lines;
    for (uint32_t k = 0; k < s->n; k++) {
        if (s->entries[k].bad)
            continue;
        p->which[p->n++] = k;
        all += room_of(s->entries[k].n);
        new += is_new(&s->entries[k]) ? room_of(s->entries[k].n) : 0;
    }
    lines = p->n * sizeof(struct store_line);
    if (is_for_us(s, &s->now)) {
        uint64_t total = s->now.index + index_bytes(&s->now) + new + lines;
        p->append = total <= s->max_bytes && total - all - lines <= total / 4;
    }
    p->bytes = p->append ? new : all;
    if (p->append || all + lines <= s->max_bytes)
        return;
    qsort_r(p->which, p->n, sizeof(p->which[0]), by_last_use, s);
    while (p->n && p->bytes + p->n * sizeof(struct store_line) > s->max_bytes / 4 * 3)
        p->bytes -= room_of(s->entries[p->which[--p->n]].n);
}

/* Where there is nothing of what the file is now. */
static uint64_t free_place(const struct store *s, uint64_t size)
{
    bool first = !s->now.sequence || STORE_FIRST_REGION + size <= s->now.at;
    return first ? STORE_FIRST_REGION : align_up(region_end(&s->now), 8);
}

static void write_records(struct store *s, const struct plan *p, struct writer *w, uint64_t region)
{
    static const uint8_t zeros[8];
    for (uint32_t k = 0; k < p->n; k++) {
        struct entry *e = &s->entries[p->which[k]];
        const uint8_t *bytes = p->append && !is_new(e) ? NULL : bytes_of(s, e);
        if (!bytes)
            continue;
        e->at = w->at + w->n - region;
        write_bytes(w, bytes, e->n);
        write_bytes(w, zeros, room_of(e->n) - e->n);
    }
}

static void write_index(struct store *s, const struct plan *p, struct writer *w,
                        struct store_header *h)
{
    struct store_line *lines = xcalloc(p->n + 1, sizeof(*lines));
    h->n_records = 0;
    for (uint32_t k = 0; k < p->n; k++) {
        const struct entry *e = &s->entries[p->which[k]];
        if (!e->bad)
            lines[h->n_records++] =
                (struct store_line){ e->hash, e->sum, e->at, e->n, e->last_used };
    }
    h->index = w->at + w->n - h->at;
    h->index_sum = sum64(s->identity, lines, index_bytes(h));
    write_bytes(w, lines, index_bytes(h));
    free(lines);
}

static bool write_header(int fd, struct store_header *h)
{
    uint8_t page[STORE_HEADER_ROOM] = { 0 };
    h->sum = sum64(no_key, h, offsetof(struct store_header, sum));
    memcpy(page, h, sizeof(*h));
    return pwrite(fd, page, sizeof(page),
                  (off_t)(h->sequence % STORE_HEADERS * STORE_HEADER_ROOM)) ==
           (ssize_t)sizeof(page);
}

/* Give back what the state that now holds does not use. That it cannot be is no harm. */
static void trim_file(const struct store *s)
{
    uint64_t end = s->now.sequence ? region_end(&s->now) : 0;
    if (!ftruncate(s->fd, (off_t)end) && s->now.at > STORE_FIRST_REGION)
        fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, STORE_FIRST_REGION,
                  (off_t)(s->now.at - STORE_FIRST_REGION));
}

static struct error *write_state(struct store *s, const struct plan *p)
{
    struct store_header h = { .version = STORE_VERSION,
                              .n_records = p->n,
                              .sequence = s->now.sequence + 1 };
    struct writer w = { .fd = s->fd, .bytes = xmalloc(CHUNK) };
    memcpy(h.magic, magic, sizeof(magic));
    memcpy(h.identity, s->identity, sizeof(h.identity));
    h.at = p->append ? s->now.at : free_place(s, p->bytes + p->n * sizeof(struct store_line));
    w.at = p->append ? region_end(&s->now) : h.at;
    for (uint32_t k = 0; k < s->n; k++)
        if (s->entries[k].used)
            s->entries[k].last_used = (uint32_t)h.sequence;
    write_records(s, p, &w, h.at);
    write_index(s, p, &w, &h);
    flush(&w);
    free(w.bytes);
    struct error *err = NULL;
    if (w.failed || fdatasync(s->fd) || !write_header(s->fd, &h) || fdatasync(s->fd))
        err = error_errno("cannot write it");
    else
        s->now = h;
    forget_windows(s);
    trim_file(s);
    return err;
}

/* What somebody else saved since we looked. Of what was in the file, only what still is there. */
static struct error *take_over(struct store *s)
{
    bool ours;
    struct store_header h = read_header(s->fd, &ours);
    if (!ours)
        return error_new("it has become something else");
    bool same = h.sequence == s->now.sequence && h.sum == s->now.sum;
    s->now = h;
    if (same)
        return NULL;
    forget_windows(s);
    for (uint32_t k = 0; k < s->n; k++) {
        s->entries[k].at = NOT_THERE;
        s->entries[k].bad = !s->entries[k].made;
    }
    if (is_for_us(s, &h) && read_index(s, &h))
        s->now.identity[0] = ~s->identity[0]; /* unreadable: not to be appended to */
    return NULL;
}

static void make_sums(struct store *s)
{
    for (uint32_t k = 0; k < s->n; k++)
        if (s->entries[k].made)
            s->entries[k].sum = sum64(s->identity, s->entries[k].made, s->entries[k].n);
}

static bool is_worth_saving(const struct store *s)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->n; k++)
        n += is_new(&s->entries[k]);
    return n >= WORTH_SAVING || n > s->n / WORTH_PART ||
           s->bytes + s->n * sizeof(struct store_line) > s->max_bytes;
}

struct error *store_save(struct store *s)
{
    if (!is_worth_saving(s))
        return NULL;
    struct error *err = lock(s->fd, LOCK_EX);
    if (err)
        return err;
    make_sums(s);
    err = take_over(s);
    struct plan p = { .which = xcalloc(s->n + 1, sizeof(p.which[0])) };
    if (!err) {
        choose(s, &p);
        err = write_state(s, &p);
    }
    free(p.which);
    flock(s->fd, LOCK_UN);
    return err;
}
