/* look SECONDS PICTURE TEXT OPTIONS...: run the machine that the options describe until a screen shows TEXT as
 * characters, or has N pixels that are not black and stay ("drawn:N"), or such pixels in a size that is then wished
 * for ("wish:WIDTHxHEIGHT:N"), at most so many seconds; then write what each head shows
 * to PICTURE.0.ppm and so on, and a text screen's characters to the output. Exits 0 if that was there. */
#include "cli/cli.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "ui/display.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct look {
    struct vm *vm;
    struct viewer *viewer;
    const char *wanted;
    bool found;
    int timer, seconds, n_seconds;
    size_t n_drawn; /* a second ago */
    bool wished;
};

static char *text_of(const struct head *h)
{
    const struct text_screen *t = head_text(h);
    size_t n = t ? (size_t)(t->columns + 1) * t->rows : 0;
    char *text = calloc(n + 1, 1), *to = text;
    for (unsigned y = 0; t && y < t->rows; y++, *to++ = '\n')
        for (unsigned x = 0; x < t->columns; x++) {
            unsigned char c = (unsigned char)t->cells[(size_t)y * t->columns + x];
            *to++ = c >= ' ' && c < 127 ? (char)c : ' ';
        }
    return text;
}

/* Enough pixels, and no fewer or more than a second ago. */
static bool is_drawn(struct look *l, size_t wanted)
{
    size_t n = 0, before = l->n_drawn;
    struct head *h;
    for (unsigned i = 0; (h = head_at(l->vm, i)); i++)
        for (size_t k = 0; k < (size_t)head_width(h) * head_height(h); k++)
            n += head_pixels(h)[k] != 0;
    l->n_drawn = n;
    return n >= wanted && n == before;
}

/* First the picture as it is, then one of the other size. */
static bool is_granted(struct look *l)
{
    unsigned width, height;
    size_t n;
    struct head *h = head_at(l->vm, 0);
    if (sscanf(l->wanted, "wish:%ux%u:%zu", &width, &height, &n) != 3 || !is_drawn(l, n))
        return false;
    if (!l->wished)
        head_wish(h, width, height);
    l->wished = true;
    return head_width(h) == width && head_height(h) == height;
}

static void on_changed(void *opaque, struct head *head, bool gone)
{
    struct look *l = opaque;
    if (!gone && l->viewer)
        viewer_watch(l->viewer, head, true);
}

static void on_damaged(void *opaque, struct head *head, struct rect part)
{
}

static void on_cursor(void *opaque, struct head *head)
{
}

static void on_second(void *opaque, uint32_t ready)
{
    struct look *l = opaque;
    struct head *h;
    uint64_t n;
    if (read(l->timer, &n, sizeof(n)) != sizeof(n))
        return;
    for (unsigned i = 0; (h = head_at(l->vm, i)); i++) {
        char *text = text_of(h);
        l->found |= strstr(text, l->wanted) != NULL;
        free(text);
    }
    if (!strncmp(l->wanted, "drawn:", 6))
        l->found = is_drawn(l, (size_t)atol(l->wanted + 6));
    if (!strncmp(l->wanted, "wish:", 5))
        l->found = is_granted(l);
    if (l->found || ++l->n_seconds >= l->seconds)
        vm_request_end(l->vm, VERDICT_QUIT, 0, NULL);
}

static void write_picture(struct head *h, const char *name, unsigned i)
{
    char path[512];
    snprintf(path, sizeof(path), "%s.%u.ppm", name, i);
    FILE *f = fopen(path, "w");
    if (!f)
        return;
    head_refresh(h);
    fprintf(f, "P6 %u %u 255\n", head_width(h), head_height(h));
    for (size_t k = 0; k < (size_t)head_width(h) * head_height(h); k++) {
        uint32_t v = head_pixels(h)[k];
        fprintf(f, "%c%c%c", (int)(v >> 16 & 255), (int)(v >> 8 & 255), (int)(v & 255));
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    static const struct viewer_ops ops = { on_changed, on_damaged, on_cursor };
    struct built built = { 0 };
    struct cli cli;
    struct head *h;
    if (argc < 5)
        return 2;
    const char *picture = argv[2];
    struct look l = { .seconds = atoi(argv[1]), .wanted = argv[3] };
    argv[3] = argv[0];
    cli_init(&cli);
    struct error *err = cli_parse(&cli, argc - 3, argv + 3);
    if (!err)
        err = cli_choose(&cli);
    if (!err)
        err = cli_build(&cli, &built);
    if (err) {
        fprintf(stderr, "look: %s\n", error_text(err));
        return 1;
    }
    l.vm = built.vm;
    l.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    timerfd_settime(l.timer, 0, &(struct itimerspec){ { 1, 0 }, { 1, 0 } }, NULL);
    loop_watch(l.vm->loop, l.timer, EPOLLIN, on_second, &l);
    l.viewer = viewer_new(l.vm, &ops, &l);
    for (unsigned i = 0; (h = head_at(l.vm, i)); i++)
        viewer_watch(l.viewer, h, true);
    vm_run(l.vm);
    for (unsigned i = 0; (h = head_at(l.vm, i)); i++) {
        char *text = text_of(h);
        printf("head %u: %u by %u\n%s", i, head_width(h), head_height(h), text);
        free(text);
        write_picture(h, picture, i);
    }
    viewer_free(l.viewer);
    cli_unbuild(&built);
    cli_free(&cli);
    return !l.found;
}
