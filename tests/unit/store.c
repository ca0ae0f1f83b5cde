/* The file of kept translations: what was saved is found, what was damaged is not, and what is not its user's alone is
 * not looked at. */
#include "tcg/store.h"

#include "core/error.h"
#include "core/hash.h"
#include "core/util.h"
#include "tcg/store_format.h"
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const uint64_t ours[2] = { 1, 2 }, theirs[2] = { 1, 3 };
enum { N = 300, RECORD = 40 };

static struct store *opened(const uint64_t identity[2], uint64_t max_bytes)
{
    struct store_options o = { .path = scratch_file, .max_bytes = max_bytes };
    struct store *s = NULL;
    memcpy(o.identity, identity, sizeof(o.identity));
    struct error *err = store_open(&o, &s);
    if (err)
        fail_msg("%s", error_text(err));
    return s;
}

static void saved(struct store *s)
{
    struct error *err = store_save(s);
    if (err)
        fail_msg("%s", error_text(err));
}

/* Record k has hash k / 2: two each. */
static void add(struct store *s, unsigned from, unsigned to)
{
    for (unsigned k = from; k < to; k++) {
        uint8_t *p = store_add(s, k / 2, RECORD + k % 3);
        assert_non_null(p);
        memset(p, (int)k, RECORD + k % 3);
        memcpy(p, &k, sizeof(k));
    }
}

static bool is_whole(const void *record, size_t n, unsigned hash)
{
    const uint8_t *p = record;
    unsigned k;
    memcpy(&k, p, sizeof(k));
    if (k / 2 != hash || n != RECORD + k % 3)
        return false;
    for (size_t i = sizeof(k); i < n; i++)
        if (p[i] != (uint8_t)k)
            return false;
    return true;
}

/* How many of the first n are there. All that is found is what was once added. */
static unsigned found(struct store *s, unsigned n)
{
    unsigned sum = 0;
    for (unsigned hash = 0; hash < (n + 1) / 2; hash++) {
        uint32_t cursor = 0;
        size_t size;
        for (const void *p; (p = store_find(s, hash, &cursor, &size)); sum++)
            assert_true(is_whole(p, size, hash));
    }
    return sum;
}

static unsigned found_in_file(const uint64_t identity[2], unsigned n)
{
    struct store *s = opened(identity, MIB);
    unsigned sum = found(s, n);
    store_free(s);
    return sum;
}

static void made_with(unsigned n)
{
    unlink(scratch_file);
    struct store *s = opened(ours, MIB);
    add(s, 0, n);
    saved(s);
    store_free(s);
}

static uint8_t *contents(size_t *n)
{
    struct stat st;
    int fd = open(scratch_file, O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    *n = (size_t)st.st_size;
    assert_int_equal(read(fd, bytes, *n), *n);
    close(fd);
    return bytes;
}

static void put_contents(const uint8_t *bytes, size_t n)
{
    int fd = open(scratch_file, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static void refused_as(const char *why)
{
    struct store_options o = { .path = scratch_file, .max_bytes = MIB };
    struct store *s;
    struct error *err = store_open(&o, &s);
    assert_non_null(err);
    if (!strstr(error_text(err), why))
        fail_msg("'%s' does not say '%s'", error_text(err), why);
    error_free(err);
}

/* ---- the hash --------------------------------------------------------------------------------------- */

/* The example in appendix A of its paper. */
static void siphash_is_that_of_the_paper(void **unused)
{
    uint8_t bytes[16];
    for (unsigned k = 0; k < 16; k++)
        bytes[k] = (uint8_t)k;
    const uint64_t key[2] = { load_le(bytes, 8), load_le(bytes + 8, 8) };
    assert_int_equal(siphash(2, 4, key, bytes, 15), 0xa129ca6149be45e5);
    assert_int_equal(siphash(1, 3, key, bytes, 15), hash64(key, bytes, 15));
}

static void each_bit_and_the_length_change_a_sum(void **unused)
{
    uint8_t bytes[67] = { 0 };
    const uint64_t key[2] = { 1, 2 }, other[2] = { 1, 3 };
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        uint64_t sum = sum64(key, bytes, n);
        assert_int_not_equal(sum, sum64(other, bytes, n));
        if (n)
            assert_int_not_equal(sum, sum64(key, bytes, n - 1));
        for (size_t k = 0; k < 8 * n; k++) {
            bytes[k / 8] ^= (uint8_t)(1 << k % 8);
            assert_int_not_equal(sum, sum64(key, bytes, n));
            bytes[k / 8] ^= (uint8_t)(1 << k % 8);
        }
    }
}

/* ---- what is kept ----------------------------------------------------------------------------------- */

static void what_was_saved_is_there(void **unused)
{
    made_with(N);
    assert_int_equal(found_in_file(ours, N), N);
    struct store *s = opened(ours, MIB);
    add(s, N, 2 * N); /* behind what is there */
    saved(s);
    store_free(s);
    assert_int_equal(found_in_file(ours, 2 * N), 2 * N);
}

static void little_news_are_not_worth_a_write(void **unused)
{
    made_with(1000);
    struct stat before, after;
    stat(scratch_file, &before);
    struct store *s = opened(ours, MIB);
    add(s, 1000, 1002);
    saved(s);
    store_free(s);
    stat(scratch_file, &after);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(found_in_file(ours, 1002), 1000);
}

static void another_identity_starts_anew(void **unused)
{
    made_with(N);
    assert_int_equal(found_in_file(theirs, N), 0);
    assert_int_equal(found_in_file(ours, N), N); /* looking changed nothing */
    struct store_counts counts;
    struct store *s = opened(theirs, MIB);
    store_count(s, &counts);
    assert_non_null(counts.anew);
    add(s, 0, N / 2);
    saved(s);
    store_free(s);
    assert_int_equal(found_in_file(theirs, N), N / 2);
    assert_int_equal(found_in_file(ours, N), 0);
}

static void two_at_once_lose_nothing(void **unused)
{
    made_with(N);
    struct store *a = opened(ours, MIB), *b = opened(ours, MIB);
    add(a, N, 2 * N);
    add(b, 2 * N, 3 * N);
    add(b, N, N + 10); /* the same as the other's */
    saved(a);
    saved(b);
    store_free(a);
    assert_int_equal(found(b, 3 * N), 3 * N);
    store_free(b);
    assert_int_equal(found_in_file(ours, 3 * N), 3 * N);
}

static void one_that_is_still_locked_is_waited_for_only_so_long(void **unused)
{
    made_with(N);
    int fd = open(scratch_file, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    refused_as("holds it locked");
    close(fd);
    assert_int_equal(found_in_file(ours, N), N);
}

/* Runs that add ever more, and use the first hundred. */
static void what_is_used_stays_in_a_full_file(void **unused)
{
    const uint64_t limit = 64 * KIB;
    unlink(scratch_file);
    for (unsigned run = 0; run < 12; run++) {
        struct store *s = opened(ours, limit);
        if (!run)
            add(s, 0, 100);
        for (unsigned hash = 0; hash < 50; hash++) {
            uint32_t cursor = 0;
            size_t n;
            while (store_find(s, hash, &cursor, &n))
                store_used(s, cursor);
        }
        add(s, 100 + run * N, 100 + (run + 1) * N);
        saved(s);
        store_free(s);
        struct stat st;
        stat(scratch_file, &st);
        assert_in_range(st.st_size, 0, 3 * limit + STORE_FIRST_REGION);
        assert_in_range(st.st_blocks * 512, 0, 2 * limit + STORE_FIRST_REGION);
    }
    struct store *s = opened(ours, limit);
    assert_int_equal(found(s, 100), 100);
    assert_in_range(found(s, 100 + 12 * N), 200, 100 + 6 * N);
    store_free(s);
}

/* ---- damage ----------------------------------------------------------------------------------------- */

static void no_damaged_byte_is_believed(void **unused)
{
    size_t n;
    made_with(N);
    uint8_t *good = contents(&n);
    unsigned lost = 0;
    for (size_t at = 0; at < n; at += at < STORE_FIRST_REGION ? 5 : 61) {
        good[at] ^= 0x10;
        put_contents(good, n);
        unsigned left = 0;
        if (at < 8 + STORE_HEADER_ROOM &&
            at >= STORE_HEADER_ROOM) /* the only header's first bytes */
            refused_as("something else");
        else
            left = found_in_file(ours, N);
        lost += left != N;
        assert_true(left == N || left == N - 1 || left == 0);
        good[at] ^= 0x10;
    }
    assert_true(lost > (n - STORE_FIRST_REGION) / 61 / 2);
    free(good);
}

static void a_file_cut_short_gives_nothing(void **unused)
{
    size_t n;
    made_with(N);
    uint8_t *good = contents(&n);
    for (size_t cut = 1; cut <= n; cut = 3 * cut + 11) {
        put_contents(good, n - cut);
        if (n - cut >= STORE_HEADER_ROOM + sizeof(struct store_header))
            assert_int_equal(found_in_file(ours, N), 0);
    }
    put_contents(good, n);
    assert_int_equal(found_in_file(ours, N), N);
    free(good);
}

/* Power goes while the second state is written: its header is not there, or half of it. */
static void the_state_before_survives_a_torn_save(void **unused)
{
    size_t n, n2;
    made_with(N);
    uint8_t *before = contents(&n);
    struct store *s = opened(ours, MIB);
    add(s, N, 2 * N);
    saved(s);
    store_free(s);
    uint8_t *after = contents(&n2);
    const struct store_header *first = (const void *)after;
    size_t header = first->sequence == 2 ? 0 : STORE_HEADER_ROOM;
    for (size_t torn = 0; torn < sizeof(*first); torn += 8) {
        uint8_t *bytes = malloc(n2);
        memcpy(bytes, after, n2);
        memset(bytes + header + torn, 0, sizeof(*first) - torn);
        put_contents(bytes, n2);
        assert_int_equal(found_in_file(ours, 2 * N), N);
        free(bytes);
    }
    /* Only some of what lies behind the old state arrived. */
    memset(after + header, 0, STORE_HEADER_ROOM);
    put_contents(after, n + (n2 - n) / 2);
    assert_int_equal(found_in_file(ours, 2 * N), N);
    free(before);
    free(after);
}

static void a_full_disk_leaves_the_state_before(void **unused)
{
    struct rlimit old, small;
    made_with(N);
    struct stat st;
    stat(scratch_file, &st);
    struct store *s = opened(ours, MIB);
    add(s, N, 20 * N);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = (rlim_t)st.st_size + 5000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    struct error *err = store_save(s);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "cannot write it"));
    error_free(err);
    store_free(s);
    assert_int_equal(found_in_file(ours, 20 * N), N);
}

/* ---- whose it is ------------------------------------------------------------------------------------ */

static void what_others_may_write_is_refused(void **unused)
{
    made_with(N);
    chmod(scratch_file, 0620);
    refused_as("others may write");
    chmod(scratch_file, 0602);
    refused_as("others may write");
    chmod(scratch_file, 0644);
    assert_int_equal(found_in_file(ours, N), N);
    chmod(scratch_folder, 0777);
    refused_as("others may write to the folder");
    chmod(scratch_folder, 01777);
    assert_int_equal(found_in_file(ours, N), N);
    chmod(scratch_folder, 0700);
}

static void what_is_another_users_is_refused(void **unused)
{
    if (geteuid())
        skip();
    made_with(N);
    assert_int_equal(chown(scratch_file, 12345, 12345), 0);
    refused_as("belongs to another user");
    assert_int_equal(chown(scratch_file, 0, 0), 0);
    assert_int_equal(chown(scratch_folder, 12345, 12345), 0);
    refused_as("belongs to another user");
    assert_int_equal(chown(scratch_folder, 0, 0), 0);
}

static void only_a_plain_file_will_do(void **unused)
{
    char other[80];
    made_with(N);
    snprintf(other, sizeof(other), "%s.real", scratch_file);
    rename(scratch_file, other);
    assert_int_equal(symlink(other, scratch_file), 0);
    refused_as("symbolic link");
    unlink(scratch_file);
    assert_int_equal(mkfifo(scratch_file, 0600), 0);
    refused_as("not a plain file");
    unlink(scratch_file);
    assert_int_equal(mkdir(scratch_file, 0700), 0);
    refused_as("");
    rmdir(scratch_file);
    unlink(other);
}

static void a_new_one_is_its_users_alone(void **unused)
{
    struct stat st;
    unlink(scratch_file);
    mode_t old = umask(0);
    store_free(opened(ours, MIB));
    umask(old);
    assert_int_equal(stat(scratch_file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void something_else_is_not_touched(void **unused)
{
    static const uint8_t text[] = "somebody's thesis, which is longer than eight bytes";
    size_t n;
    unlink(scratch_file);
    close(open(scratch_file, O_CREAT | O_WRONLY, 0600));
    put_contents(text, sizeof(text));
    refused_as("something else");
    uint8_t *now = contents(&n);
    assert_int_equal(n, sizeof(text));
    assert_memory_equal(now, text, n);
    free(now);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_is_that_of_the_paper),
        cmocka_unit_test(each_bit_and_the_length_change_a_sum),
        cmocka_unit_test(what_was_saved_is_there),
        cmocka_unit_test(little_news_are_not_worth_a_write),
        cmocka_unit_test(another_identity_starts_anew),
        cmocka_unit_test(two_at_once_lose_nothing),
        cmocka_unit_test(one_that_is_still_locked_is_waited_for_only_so_long),
        cmocka_unit_test(what_is_used_stays_in_a_full_file),
        cmocka_unit_test(no_damaged_byte_is_believed),
        cmocka_unit_test(a_file_cut_short_gives_nothing),
        cmocka_unit_test(the_state_before_survives_a_torn_save),
        cmocka_unit_test(a_full_disk_leaves_the_state_before),
        cmocka_unit_test(what_others_may_write_is_refused),
        cmocka_unit_test(what_is_another_users_is_refused),
        cmocka_unit_test(only_a_plain_file_will_do),
        cmocka_unit_test(a_new_one_is_its_users_alone),
        cmocka_unit_test(something_else_is_not_touched),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
