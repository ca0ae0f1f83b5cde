/* The block layer, on temporary files in the current folder. */
#include "block/block.h"

#include "board.h"
#include "core/backends.h"
#include "core/error.h"
#include "core/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- kit ------------------------------------------------------------------------------------ */
struct disk {
    struct board *b;
    struct blk *blk;
    char path[64];
};

/* A file of n bytes in which each byte tells its place. */
static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 7 + at / 512 * 13 + 1);
}

static void make_image(char path[64], uint64_t n)
{
    strcpy(path, "block-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    uint8_t *bytes = malloc(n + 1);
    for (uint64_t i = 0; i < n; i++)
        bytes[i] = byte_at(i);
    assert_int_equal(write(fd, bytes, n), n);
    free(bytes);
    close(fd);
}

static struct disk disk_with(uint64_t n, struct blk_options o)
{
    struct disk d = { .b = board_new() };
    make_image(d.path, n);
    o.file = d.path;
    struct error *err = blk_open(d.b->vm, &o, &d.blk);
    if (err)
        fail_msg("%s", error_text(err));
    return d;
}

static void disk_free(struct disk *d)
{
    blk_close(d->blk);
    board_free(d->b);
    unlink(d->path);
}

struct waited {
    struct blk_request req;
    bool done;
    int result;
    pthread_t thread;
};

static void set_done(struct blk_request *req, int result)
{
    struct waited *w = container_of(req, struct waited, req);
    w->done = true;
    w->result = result;
    w->thread = pthread_self();
}

static int run(struct disk *d, enum blk_op op, uint64_t offset, void *buf, uint64_t n)
{
    struct iovec iov = { buf, n };
    struct waited w = { .req = { .op = op,
                                 .offset = offset,
                                 .length = n,
                                 .iov = &iov,
                                 .n_iov = 1,
                                 .may_unmap = true,
                                 .done = set_done } };
    blk_submit(d->blk, &w.req);
    while (!w.done)
        loop_once(d->b->vm->loop, 1000);
    return w.result;
}

static bool reads_as(struct disk *d, uint64_t offset, uint64_t n, uint8_t (*expected)(uint64_t at))
{
    uint8_t *buf = malloc(n);
    bool same = run(d, BLK_READ, offset, buf, n) == 0;
    for (uint64_t i = 0; i < n && same; i++)
        same = buf[i] == expected(offset + i);
    free(buf);
    return same;
}

static uint8_t zero_at(uint64_t at)
{
    return 0;
}

static char *refused(struct board *b, struct blk_options o)
{
    struct blk *blk;
    struct error *err = blk_open(b->vm, &o, &blk);
    assert_non_null(err);
    char *text = strdup(error_text(err));
    error_free(err);
    return text;
}

static void assert_says(char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' does not say '%s'", text, part);
    assert_null(strchr(text, '\n'));
    free(text);
}

/* ---- plain facts ---------------------------------------------------------------------------- */
static void what_is_written_is_read_back(void **unused)
{
    struct disk d = disk_with(64 * KIB, (struct blk_options){ 0 });
    uint8_t buf[1536];
    memset(buf, 0xa5, sizeof(buf));
    assert_int_equal(run(&d, BLK_WRITE, 1024, buf, sizeof(buf)), 0);
    assert_int_equal(run(&d, BLK_FLUSH, 0, NULL, 0), 0);
    memset(buf, 0, sizeof(buf));
    assert_int_equal(run(&d, BLK_READ, 1024, buf, sizeof(buf)), 0);
    for (size_t i = 0; i < sizeof(buf); i++)
        assert_int_equal(buf[i], 0xa5);
    assert_true(reads_as(&d, 0, 1024, byte_at));
    assert_true(reads_as(&d, 2560, 4096, byte_at));
    disk_free(&d);
}

static void scattered_pieces_are_filled_in_order(void **unused)
{
    struct disk d = disk_with(64 * KIB, (struct blk_options){ 0 });
    uint8_t buf[700 * 8];
    struct iovec iov[700];
    for (unsigned i = 0; i < 700; i++)
        iov[i] = (struct iovec){ buf + (699 - i) * 8, 8 }; /* more than one call takes, backwards */
    struct waited w = { .req = { .op = BLK_READ,
                                 .offset = 512,
                                 .length = 5120,
                                 .iov = iov,
                                 .n_iov = 640,
                                 .done = set_done } };
    blk_submit(d.blk, &w.req);
    blk_drain(d.blk);
    assert_int_equal(w.result, 0);
    for (unsigned i = 0; i < 5120; i++)
        assert_int_equal(buf[(699 - i / 8) * 8 + i % 8], byte_at(512 + i));
    disk_free(&d);
}

static void requests_outside_the_image_fail(void **unused)
{
    struct disk d = disk_with(8192, (struct blk_options){ 0 });
    uint8_t buf[8192];
    assert_int_equal(run(&d, BLK_READ, 8192, buf, 512), -EINVAL);
    assert_int_equal(run(&d, BLK_READ, 4096, buf, 8192), -EINVAL);
    assert_int_equal(run(&d, BLK_WRITE, UINT64_MAX - 511, buf, 512), -EINVAL);
    assert_int_equal(run(&d, BLK_READ, 100, buf, 512), -EINVAL);
    assert_int_equal(run(&d, BLK_READ, 0, buf, 100), -EINVAL);
    assert_int_equal(run(&d, BLK_DISCARD, 8192, NULL, 512), -EINVAL);
    assert_int_equal(run(&d, (enum blk_op)17, 0, buf, 512), -EINVAL);
    struct blk_counts c;
    blk_counts(d.blk, &c);
    assert_int_equal(c.errors, 7);
    disk_free(&d);
}

static void read_only_disk_refuses_writes(void **unused)
{
    struct disk d = disk_with(8192, (struct blk_options){ .readonly = true });
    uint8_t buf[512] = { 0 };
    assert_true(blk_readonly(d.blk));
    assert_int_equal(run(&d, BLK_WRITE, 0, buf, 512), -EROFS);
    assert_int_equal(run(&d, BLK_WRITE_ZEROES, 0, NULL, 512), -EROFS);
    assert_int_equal(run(&d, BLK_DISCARD, 0, NULL, 512), -EROFS);
    assert_true(reads_as(&d, 0, 8192, byte_at));
    disk_free(&d);
}

static void file_cut_short_gives_errors_not_zeroes(void **unused)
{
    struct disk d = disk_with(64 * KIB, (struct blk_options){ 0 });
    uint8_t buf[8192];
    assert_int_equal(truncate(d.path, 5000), 0);
    assert_int_equal(run(&d, BLK_READ, 4096, buf, 8192), -EIO);
    assert_int_equal(run(&d, BLK_READ, 32768, buf, 512), -EIO);
    assert_true(reads_as(&d, 0, 4096, byte_at));
    disk_free(&d);
}

static void odd_length_ends_in_zeroes(void **unused)
{
    struct disk d = disk_with(1000, (struct blk_options){ 0 });
    uint8_t buf[1024];
    assert_int_equal(blk_size(d.blk), 1024);
    assert_int_equal(run(&d, BLK_READ, 0, buf, 1024), 0);
    for (unsigned i = 0; i < 1024; i++)
        assert_int_equal(buf[i], i < 1000 ? byte_at(i) : 0);
    memset(buf, 9, sizeof(buf));
    assert_int_equal(run(&d, BLK_WRITE, 512, buf, 512), 0);
    assert_int_equal(run(&d, BLK_READ, 512, buf, 512), 0);
    assert_int_equal(buf[511], 9);
    disk_free(&d);
}

static void data_in_the_page_cache_is_read_at_once(void **unused)
{
    struct disk d = disk_with(64 * KIB, (struct blk_options){ 0 });
    uint8_t buf[4096];
    struct iovec iov = { buf, sizeof(buf) };
    struct blk_request req = {
        .op = BLK_READ, .offset = 4096, .length = 4096, .iov = &iov, .n_iov = 1
    };
    if (!blk_try(d.blk, &req)) {
        disk_free(&d);
        print_message("# this file system reads nothing at once\n");
        skip();
    }
    assert_int_equal(req.result, 0);
    for (unsigned i = 0; i < sizeof(buf); i++)
        assert_int_equal(buf[i], byte_at(4096 + i));
    req.offset = 1 << 20;
    assert_true(blk_try(d.blk, &req));
    assert_int_equal(req.result, -EINVAL);
    disk_free(&d);
}

/* ---- discard and zeroes ---------------------------------------------------------------------- */
static uint64_t allocated(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void discard_gives_space_back_if_asked_for(void **unused)
{
    for (int on = 0; on < 2; on++) {
        struct disk d = disk_with(1 * MIB, (struct blk_options){ .discard = on });
        run(&d, BLK_FLUSH, 0, NULL, 0);
        uint64_t before = allocated(d.path);
        assert_int_equal(run(&d, BLK_DISCARD, 256 * KIB, NULL, 512 * KIB), 0);
        if (on)
            assert_true(allocated(d.path) <= before - 400 * KIB);
        else
            assert_true(reads_as(&d, 256 * KIB, 512 * KIB, byte_at));
        assert_true(reads_as(&d, 0, 256 * KIB, byte_at));
        assert_true(reads_as(&d, 768 * KIB, 256 * KIB, byte_at));
        disk_free(&d);
    }
}

static void zeroes_are_written_whatever_the_host_offers(void **unused)
{
    const struct blk_options variants[] = { { .discard = true }, { 0 }, { .snapshot = true } };
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        struct disk d = disk_with(256 * KIB, variants[i]);
        assert_int_equal(run(&d, BLK_WRITE_ZEROES, 1536, NULL, 100 * KIB), 0);
        assert_true(reads_as(&d, 1536, 100 * KIB, zero_at));
        assert_true(reads_as(&d, 0, 1536, byte_at));
        assert_true(reads_as(&d, 1536 + 100 * KIB, 512, byte_at));
        disk_free(&d);
    }
}

static void snapshot_leaves_the_file_alone(void **unused)
{
    struct disk d = disk_with(256 * KIB, (struct blk_options){ .snapshot = true, .discard = true });
    uint8_t buf[3 * 512];
    memset(buf, 0x77, sizeof(buf));
    assert_false(blk_readonly(d.blk));
    assert_int_equal(run(&d, BLK_WRITE, 63 * 512, buf, sizeof(buf)), 0);
    assert_int_equal(run(&d, BLK_DISCARD, 128 * KIB, NULL, 64 * KIB), 0);
    uint8_t all[5 * 512];
    assert_int_equal(run(&d, BLK_READ, 62 * 512, all, sizeof(all)), 0);
    for (unsigned i = 0; i < sizeof(all); i++)
        assert_int_equal(all[i], i >= 512 && i < 2048 ? 0x77 : byte_at(62 * 512 + i));
    blk_close(d.blk);
    struct blk_options o = { .file = d.path };
    assert_null(blk_open(d.b->vm, &o, &d.blk));
    assert_true(reads_as(&d, 0, 256 * KIB, byte_at));
    disk_free(&d);
}

/* ---- many at a time ---------------------------------------------------------------------------- */
enum { SLOTS = 24, SLOT_BYTES = 96 * 1024, ROUNDS = 3000 };

/* Each slot owns a stretch of the disk and has one request under way; a copy in memory says what
 * must be there. Neighbouring stretches share blocks of 4 KiB, so partial writes meet. */
struct slot {
    struct blk_request req;
    struct storm *s;
    unsigned index;
    uint8_t *buf, *model;
    struct iovec iov[3];
};
struct storm {
    struct disk d;
    struct slot slots[SLOTS];
    unsigned started, finished;
    uint32_t seed;
};

static uint32_t next_random(struct storm *s)
{
    s->seed = s->seed * 1664525 + 1013904223;
    return s->seed >> 8;
}

static uint64_t slot_start(const struct slot *slot)
{
    return slot->index * (uint64_t)(SLOT_BYTES + 512);
}

static void slot_done(struct blk_request *req, int result);

static void slot_begin(struct slot *slot)
{
    struct storm *s = slot->s;
    uint64_t sectors = SLOT_BYTES / 512, at = next_random(s) % sectors;
    uint64_t n = 1 + next_random(s) % MIN(sectors - at, 64);
    unsigned kind = next_random(s) % 8;
    uint8_t *model = slot->model + at * 512;
    s->started++;
    slot->req = (struct blk_request){ .op = kind < 4   ? BLK_READ
                                            : kind < 7 ? BLK_WRITE
                                                       : BLK_WRITE_ZEROES,
                                      .offset = slot_start(slot) + at * 512,
                                      .length = n * 512,
                                      .may_unmap = next_random(s) & 1,
                                      .fua = !(next_random(s) % 16),
                                      .done = slot_done };
    uint64_t cut = next_random(s) % (n * 512);
    slot->iov[0] = (struct iovec){ slot->buf, cut };
    slot->iov[1] = (struct iovec){ slot->buf + cut, n * 512 - cut };
    slot->req.iov = slot->iov;
    slot->req.n_iov = 2;
    if (slot->req.op == BLK_WRITE) {
        for (uint64_t i = 0; i < n * 512; i++)
            slot->buf[i] = model[i] = (uint8_t)next_random(s);
    } else if (slot->req.op == BLK_WRITE_ZEROES) {
        memset(model, 0, n * 512);
    } else {
        memset(slot->buf, 0xee, n * 512);
    }
    if (next_random(s) % 4 == 0 && blk_try(s->d.blk, &slot->req))
        slot_done(&slot->req, slot->req.result);
    else
        blk_submit(s->d.blk, &slot->req);
}

static void slot_done(struct blk_request *req, int result)
{
    struct slot *slot = container_of(req, struct slot, req);
    struct storm *s = slot->s;
    assert_int_equal(result, 0);
    if (req->op == BLK_READ)
        assert_memory_equal(slot->buf, slot->model + (req->offset - slot_start(slot)), req->length);
    s->finished++;
    if (s->started < ROUNDS)
        slot_begin(slot);
}

static void storm(struct blk_options o)
{
    struct storm *s = calloc(1, sizeof(*s));
    s->seed = 12345;
    s->d = disk_with(SLOTS * (SLOT_BYTES + 512), o);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &s->slots[i];
        *slot = (struct slot){ .s = s, .index = i };
        assert_int_equal(posix_memalign((void **)&slot->buf, 4096, SLOT_BYTES), 0);
        slot->model = malloc(SLOT_BYTES);
        for (uint64_t k = 0; k < SLOT_BYTES; k++)
            slot->model[k] = byte_at(slot_start(slot) + k);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        slot_begin(&s->slots[i]);
    while (s->finished < s->started)
        loop_once(s->d.b->vm->loop, 1000);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &s->slots[i];
        assert_int_equal(run(&s->d, BLK_READ, slot_start(slot), slot->buf, SLOT_BYTES), 0);
        assert_memory_equal(slot->buf, slot->model, SLOT_BYTES);
        free(slot->buf);
        free(slot->model);
    }
    disk_free(&s->d);
    free(s);
}

static void random_requests_keep_every_byte(void **unused)
{
    storm((struct blk_options){ .discard = true });
}

static void random_requests_keep_every_byte_beside_a_snapshot(void **unused)
{
    storm((struct blk_options){ .snapshot = true });
}

static void random_requests_keep_every_byte_past_the_page_cache(void **unused)
{
    struct board *b = board_new();
    struct blk_options o = { .no_cache = true };
    struct blk *blk;
    char path[64];
    make_image(path, 64 * KIB);
    o.file = path;
    struct error *err = blk_open(b->vm, &o, &blk);
    bool direct = !err;
    error_free(err);
    if (direct)
        blk_close(blk);
    board_free(b);
    unlink(path);
    if (!direct) {
        print_message("# no O_DIRECT here\n");
        skip();
    }
    storm(o);
}

static void requests_without_a_multiple_of_the_block_meet_o_direct(void **unused)
{
    /* covered by the storm's 512-byte offsets; here: memory that is not aligned either */
    struct disk d = { .b = board_new() };
    make_image(d.path, 64 * KIB);
    struct blk_options o = { .file = d.path, .no_cache = true };
    struct error *err = blk_open(d.b->vm, &o, &d.blk);
    if (err) {
        error_free(err);
        board_free(d.b);
        unlink(d.path);
        skip();
    }
    uint8_t buf[4096 + 3];
    assert_int_equal(run(&d, BLK_READ, 512, buf + 3, 4096), 0);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(buf[3 + i], byte_at(512 + i));
    memset(buf, 0x31, sizeof(buf));
    assert_int_equal(run(&d, BLK_WRITE, 1024, buf + 1, 512), 0);
    assert_true(reads_as(&d, 0, 1024, byte_at));
    assert_true(reads_as(&d, 1536, 60 * KIB, byte_at));
    assert_int_equal(run(&d, BLK_READ, 1024, buf, 512), 0);
    assert_int_equal(buf[511], 0x31);
    disk_free(&d);
}

static void drain_waits_for_everything(void **unused)
{
    struct disk d = disk_with(1 * MIB, (struct blk_options){ 0 });
    struct waited w[64] = { 0 };
    static uint8_t buf[64][4096];
    struct iovec iov[64];
    for (unsigned i = 0; i < 64; i++) {
        iov[i] = (struct iovec){ buf[i], 4096 };
        w[i].req = (struct blk_request){ .op = BLK_WRITE,
                                         .offset = i * 4096,
                                         .length = 4096,
                                         .iov = &iov[i],
                                         .n_iov = 1,
                                         .done = set_done };
        blk_submit(d.blk, &w[i].req);
    }
    blk_drain(d.blk);
    for (unsigned i = 0; i < 64; i++)
        assert_true(w[i].done && !w[i].result);
    disk_free(&d);
}

static void completions_come_on_the_loop_that_was_chosen(void **unused)
{
    struct disk d = disk_with(64 * KIB, (struct blk_options){ 0 });
    struct loop *other;
    uint8_t buf[512];
    struct iovec iov = { buf, sizeof(buf) };
    struct waited w = {
        .req = { .op = BLK_READ, .length = 512, .iov = &iov, .n_iov = 1, .done = set_done }
    };
    assert_null(loop_new(&other));
    blk_use_loop(d.blk, other);
    blk_submit(d.blk, &w.req);
    for (int i = 0; i < 10; i++)
        loop_once(d.b->vm->loop, 1);
    assert_false(w.done);
    while (!w.done)
        loop_once(other, 1000);
    assert_int_equal(w.result, 0);
    blk_use_loop(d.blk, NULL);
    loop_free(other);
    assert_true(reads_as(&d, 0, 512, byte_at));
    disk_free(&d);
}

/* ---- what cannot be opened ------------------------------------------------------------------- */
static void image_in_use_is_refused(void **unused)
{
    struct disk d = disk_with(8192, (struct blk_options){ 0 });
    assert_says(refused(d.b, (struct blk_options){ .file = d.path }), "in use by another process");
    assert_says(refused(d.b, (struct blk_options){ .file = d.path, .readonly = true }), "in use");
    struct blk *second;
    struct blk_options unlocked = { .file = d.path, .readonly = true, .no_lock = true };
    assert_null(blk_open(d.b->vm, &unlocked, &second));
    blk_close(second);
    disk_free(&d);
}

static void readers_share_an_image(void **unused)
{
    struct disk d = disk_with(8192, (struct blk_options){ .readonly = true });
    struct blk *second;
    struct blk_options o = { .file = d.path, .snapshot = true };
    assert_null(blk_open(d.b->vm, &o, &second));
    assert_says(refused(d.b, (struct blk_options){ .file = d.path }), "in use");
    blk_close(second);
    disk_free(&d);
}

static void what_is_no_disk_image_is_named(void **unused)
{
    struct board *b = board_new();
    char path[64];
    assert_says(refused(b, (struct blk_options){ .file = "/nonexistent/disk" }),
                "'/nonexistent/disk': cannot be opened: No such file");
    assert_says(refused(b, (struct blk_options){ .file = "/tmp" }), "is a directory");
    assert_says(refused(b, (struct blk_options){ .file = "/tmp", .readonly = true }),
                "is a directory");
    assert_says(refused(b, (struct blk_options){ .file = "/dev/null" }), "neither a file nor");
    assert_says(refused(b, (struct blk_options){ 0 }), "file=");
    make_image(path, 0);
    assert_says(refused(b, (struct blk_options){ .file = path }), "is empty");
    unlink(path);
    make_image(path, 512);
    assert_says(refused(b, (struct blk_options){ .file = path, .format = "host_device" }),
                "not a block device");
    assert_says(refused(b, (struct blk_options){ .file = path, .format = "qcow9" }), "not known");
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "QFI\xfb", 4, 0), 4);
    close(fd);
    assert_says(refused(b, (struct blk_options){ .file = path }), "is a qcow2 image");
    assert_int_equal(truncate(path, 8192), 0);
    char *direct = refused(b, (struct blk_options){ .file = path, .no_cache = true });
    assert_true(strstr(direct, "is a qcow2 image") || strstr(direct, "cache.direct=on"));
    free(direct);
    unlink(path);
    strcpy(path, "block-test-fifo");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_says(refused(b, (struct blk_options){ .file = path }), "neither a file nor");
    unlink(path);
    board_free(b);
}

/* ---- the command line --------------------------------------------------------------------------- */
static char *drive_error(struct board *b, const char *format, const char *path)
{
    struct drive_info info;
    char text[256];
    snprintf(text, sizeof(text), format, path);
    struct error *err = text[0] == '{' || strstr(text, "node-name")
                            ? blk_add_blockdev(b->vm, text)
                            : blk_add_drive(b->vm, text, &info);
    char *out = err ? strdup(error_text(err)) : NULL;
    error_free(err);
    return out;
}

static void drives_are_registered_by_id(void **unused)
{
    struct board *b = board_new();
    struct drive_info info;
    char path[64], text[256];
    make_image(path, 4096);
    snprintf(text, sizeof(text),
             "file=%s,if=none,id=d0,format=raw,readonly=on,serial=abc,cache=none", path);
    struct error *err = blk_add_drive(b->vm, text, &info);
    if (err && strstr(error_text(err), "cache.direct")) {
        error_free(err);
        *strstr(text, ",cache") = 0;
        err = blk_add_drive(b->vm, text, &info);
    }
    assert_null(err);
    assert_int_equal(info.iface, DRIVE_IF_NONE);
    assert_string_equal(info.id, "d0");
    assert_int_equal(info.unit, ~0u);
    struct blk *blk = backend_find(b->vm, BACKEND_DRIVE, "d0");
    assert_non_null(blk);
    assert_true(blk_readonly(blk));
    assert_string_equal(blk_serial(blk), "abc");
    snprintf(text, sizeof(text), "file=%s,snapshot=on,index=3,cache=writethrough", path);
    assert_null(blk_add_drive(b->vm, text, &info));
    assert_int_equal(info.iface, DRIVE_IF_VIRTIO);
    assert_string_equal(info.id, "drive0");
    assert_int_equal(info.unit, 3);
    assert_true(blk_writethrough(backend_find(b->vm, BACKEND_DRIVE, "drive0")));
    board_free(b);
    unlink(path);
}

static void blockdevs_stand_on_each_other(void **unused)
{
    struct board *b = board_new();
    char path[64];
    make_image(path, 4096);
    assert_null(drive_error(b, "driver=file,node-name=f0,filename=%s,discard=unmap", path));
    assert_null(drive_error(b, "driver=raw,node-name=r0,file=f0,read-only=on", ""));
    struct blk *blk = backend_find(b->vm, BACKEND_DRIVE, "r0");
    assert_int_equal(blk_size(blk), 4096);
    assert_true(blk_readonly(blk));
    assert_says(drive_error(b, "driver=raw,node-name=r1,file=f0", ""), "in use");
    assert_says(drive_error(b, "driver=raw,node-name=r1,file=nix", ""), "'nix'");
    board_free(b);
    unlink(path);
}

static void blockdev_as_json_says_the_same(void **unused)
{
    struct board *b = board_new();
    char path[64];
    make_image(path, 4096);
    char *text = drive_error(b,
                             "{\"driver\":\"raw\",\"node-name\":\"j0\",\"read-only\":true,"
                             "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"},"
                             "\"cache\":{\"direct\":false,\"no-flush\":true}}",
                             path);
    if (text && strstr(text, "build")) { /* without jansson */
        free(text);
        board_free(b);
        unlink(path);
        skip();
    }
    assert_null(text);
    assert_true(blk_readonly(backend_find(b->vm, BACKEND_DRIVE, "j0")));
    board_free(b);
    unlink(path);
}

static void wrong_drive_options_are_named(void **unused)
{
    struct board *b = board_new();
    char path[64];
    make_image(path, 4096);
    assert_says(drive_error(b, "file=%s,chache=none", path), "did you mean 'cache'");
    assert_says(drive_error(b, "file=%s,cache=fast", path), "writethrough");
    assert_says(drive_error(b, "file=%s,if=floppy", path), "none, virtio, pflash");
    assert_says(drive_error(b, "file=%s,readonly=maybe", path), "readonly='maybe'");
    assert_says(drive_error(b, "file=%s,aio=io_uring", path), "threads");
    assert_says(drive_error(b, "file=%s,format=qcow2", path), "'qcow2'");
    assert_says(drive_error(b, "file=%s,unit=x", path), "unit='x'");
    assert_says(drive_error(b, "file=%s,throttling.bps-total=9", path),
                "throttling.bps-total is not supported: there is no I/O throttling yet");
    assert_says(drive_error(b, "file=%s,throttling.group=g", path), "no I/O throttling yet");
    assert_says(drive_error(b, "file=%s,bps=9", path), "bps is not supported: there is no I/O");
    assert_says(drive_error(b, "file=%s,iops_rd=9", path), "iops_rd is not supported");
    assert_says(drive_error(b, "driver=throttle,node-name=n,file=%s", path), "no I/O throttling");
    assert_says(drive_error(b, "file=%s,copy-on-read=on", path), "accepted: off");
    assert_says(drive_error(b, "file=%s,backing.driver=raw", path), "no backing files");
    assert_says(drive_error(b, "if=none,id=x%s", ""), "file=");
    assert_says(drive_error(b, "driver=file,node-name=n%s", ""), "filename= is missing");
    assert_says(drive_error(b, "driver=qcow2,node-name=n,filename=%s", path), "host_device");
    assert_null(backend_find(b->vm, BACKEND_DRIVE, "drive0"));
    assert_null(drive_error(b, "file=%s,id=a,snapshot=on", path));
    assert_says(drive_error(b, "file=%s,id=a,snapshot=on", path), "'a' is in use");
    board_free(b);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(scattered_pieces_are_filled_in_order),
        cmocka_unit_test(requests_outside_the_image_fail),
        cmocka_unit_test(read_only_disk_refuses_writes),
        cmocka_unit_test(file_cut_short_gives_errors_not_zeroes),
        cmocka_unit_test(odd_length_ends_in_zeroes),
        cmocka_unit_test(data_in_the_page_cache_is_read_at_once),
        cmocka_unit_test(discard_gives_space_back_if_asked_for),
        cmocka_unit_test(zeroes_are_written_whatever_the_host_offers),
        cmocka_unit_test(snapshot_leaves_the_file_alone),
        cmocka_unit_test(random_requests_keep_every_byte),
        cmocka_unit_test(random_requests_keep_every_byte_beside_a_snapshot),
        cmocka_unit_test(random_requests_keep_every_byte_past_the_page_cache),
        cmocka_unit_test(requests_without_a_multiple_of_the_block_meet_o_direct),
        cmocka_unit_test(drain_waits_for_everything),
        cmocka_unit_test(completions_come_on_the_loop_that_was_chosen),
        cmocka_unit_test(image_in_use_is_refused),
        cmocka_unit_test(readers_share_an_image),
        cmocka_unit_test(what_is_no_disk_image_is_named),
        cmocka_unit_test(drives_are_registered_by_id),
        cmocka_unit_test(blockdevs_stand_on_each_other),
        cmocka_unit_test(blockdev_as_json_says_the_same),
        cmocka_unit_test(wrong_drive_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
