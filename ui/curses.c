#include "ui/curses.h"

#include "core/chardev.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/cp437.h"
#include "ui/display.h"
#include "ui/faces.h"
#include "ui/keys.h"
#include "ui/library.h"

#define NCURSES_NOMACROS
#define NCURSES_WIDECHAR 1
#define key_name         curses_key_name /* ui/keys.h has another */
#include <curses.h>
#undef key_name
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#define FUNCTIONS(X) \
    X(newterm)       \
    X(endwin)        \
    X(delscreen)     \
    X(newwin)        \
    X(delwin)        \
    X(raw)           \
    X(noecho)        \
    X(nonl)          \
    X(keypad)        \
    X(nodelay)       \
    X(set_escdelay)  \
    X(start_color)   \
    X(has_colors)    \
    X(COLOR_PAIR)    \
    X(init_pair)     \
    X(getmaxx)       \
    X(getmaxy)       \
    X(werase)        \
    X(wmove)         \
    X(wattrset)      \
    X(mvwaddnwstr)   \
    X(mvwaddnstr)    \
    X(wrefresh)      \
    X(curs_set)      \
    X(tigetstr)      \
    X(wget_wch)
struct curses_library {
    FUNCTIONS(LIBRARY_MEMBER)
};
static const char *const names[] = { FUNCTIONS(LIBRARY_NAME) };

enum { CTRL_A = 1, N_COLOURS = 8 };

struct curses {
    struct vm *vm;
    struct curses_library lib;
    SCREEN *screen;
    WINDOW *window;
    struct viewer *viewer;
    struct head *head; /* shown; NULL: none is there */
    struct keyboard *keyboard;
    bool stale, colours, escaped, alt, help; /* escaped: behind Ctrl-A; alt: behind Esc */
};

/* ---- the picture ------------------------------------------------------------------------------- */
static void note(struct curses *c, const char *text)
{
    int width = c->lib.getmaxx(c->window), height = c->lib.getmaxy(c->window);
    int n = (int)strlen(text), x = MAX(0, (width - n) / 2);
    c->lib.werase(c->window);
    c->lib.mvwaddnstr(c->window, height / 2, x, text, MIN(n, width));
    c->lib.curs_set(0);
}

/* A colour of a PC, in the order of terminals: red and blue change places. */
static int colour_of(unsigned pc)
{
    return (int)((pc & 2) | (pc >> 2 & 1) | (pc & 1) << 2);
}

static int attributes_of(const struct curses *c, unsigned attribute)
{
    unsigned front = attribute & 7, back = attribute >> 4 & 7;
    int pair = 1 + colour_of(front) + N_COLOURS * colour_of(back);
    int style = attribute & 8 ? (int)A_BOLD : 0;
    if (!c->colours)
        return style | (back > front ? (int)A_REVERSE : 0);
    return style | c->lib.COLOR_PAIR(pair);
}

static void draw_text(struct curses *c, const struct text_screen *text)
{
    unsigned width = (unsigned)c->lib.getmaxx(c->window),
             height = (unsigned)c->lib.getmaxy(c->window);
    c->lib.werase(c->window);
    for (unsigned y = 0; y < MIN(text->rows, height); y++)
        for (unsigned x = 0; x < MIN(text->columns, width); x++) {
            uint16_t cell = text->cells[(size_t)y * text->columns + x];
            wchar_t character = cp437[cell & 0xff];
            c->lib.wattrset(c->window, attributes_of(c, cell >> 8));
            c->lib.mvwaddnwstr(c->window, (int)y, (int)x, &character, 1);
        }
    c->lib.wattrset(c->window, 0);
    bool shown = text->cursor_on && text->cursor_x < width && text->cursor_y < height;
    c->lib.curs_set(shown);
    if (shown)
        c->lib.wmove(c->window, (int)text->cursor_y, (int)text->cursor_x);
}

static void draw(struct curses *c)
{
    const struct text_screen *text = c->head ? head_text(c->head) : NULL;
    char line[120];
    if (c->help) {
        note(c, "Ctrl-A x: end   Ctrl-A a: send Ctrl-A   Ctrl-A 1 to 9: another screen   any key: "
                "go on");
    } else if (text) {
        draw_text(c, text);
    } else if (c->head) {
        snprintf(line, sizeof(line), "[ a picture of %u by %u, no text; Ctrl-A h: help ]",
                 head_width(c->head), head_height(c->head));
        note(c, line);
    } else {
        note(c, "[ the guest has no screen; Ctrl-A h: help ]");
    }
    c->lib.wrefresh(c->window);
}

static uint64_t before_wait(void *opaque)
{
    struct curses *c = opaque;
    if (c->stale)
        draw(c);
    c->stale = false;
    return UINT64_MAX;
}

static void show(struct curses *c, struct head *head)
{
    if (c->head)
        viewer_watch(c->viewer, c->head, false);
    c->head = head;
    if (head)
        viewer_watch(c->viewer, head, true);
    c->stale = true;
}

static void on_changed(void *opaque, struct head *head, bool gone)
{
    struct curses *c = opaque;
    c->stale = true;
    if (!c->viewer)
        return;
    if (gone && head == c->head)
        show(c, head_at(c->vm, 0) == head ? head_at(c->vm, 1) : head_at(c->vm, 0));
    else if (!gone && !c->head)
        show(c, head);
}

static void on_damaged(void *opaque, struct head *head, struct rect part)
{
    struct curses *c = opaque;
    c->stale |= head == c->head;
}

static void on_cursor(void *opaque, struct head *head)
{
}

static const struct viewer_ops viewer_ops = { on_changed, on_damaged, on_cursor };

/* ---- keys ------------------------------------------------------------------------------------------ */
/* A terminal tells no releases: each key is pressed and let go. */
static void tap(struct curses *c, unsigned code)
{
    keyboard_key(c->keyboard, code, true);
    keyboard_key(c->keyboard, code, false);
}

static void type_function(struct curses *c, wint_t key)
{
    static const struct {
        wint_t key;
        const char *name;
    } keys[] = {
        { KEY_UP, "up" },          { KEY_DOWN, "down" },  { KEY_LEFT, "left" },
        { KEY_RIGHT, "right" },    { KEY_HOME, "home" },  { KEY_END, "end" },
        { KEY_PPAGE, "pgup" },     { KEY_NPAGE, "pgdn" }, { KEY_IC, "insert" },
        { KEY_DC, "delete" },      { KEY_ENTER, "ret" },  { KEY_BACKSPACE, "backspace" },
        { KEY_BTAB, "shift-tab" },
    };
    char name[8];
    if (key == KEY_RESIZE) {
        c->stale = true;
    } else if (key >= KEY_F(1) && key <= KEY_F(12)) {
        snprintf(name, sizeof(name), "f%u", (unsigned)(key - KEY_F0));
        tap(c, key_by_name(name));
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (keys[i].key == key && key == KEY_BTAB)
            error_free(keys_send_names(c->vm, keys[i].name, 1));
        else if (keys[i].key == key)
            tap(c, key_by_name(keys[i].name));
}

static void type_character(struct curses *c, wint_t character)
{
    const struct keymap *layout = keys_layout(c->vm);
    bool ctrl = character < ' ' && !strchr("\b\t\n\r\33", (int)character);
    uint32_t symbol = character == 127 ? keysym_of('\b') : keysym_of(character);
    if (ctrl) {
        symbol = character ? character + 0x60 : ' ';
        keyboard_key(c->keyboard, key_by_name("ctrl"), true);
    }
    keyboard_keysym(c->keyboard, layout, symbol, true);
    keyboard_keysym(c->keyboard, layout, symbol, false);
    if (ctrl)
        keyboard_key(c->keyboard, key_by_name("ctrl"), false);
}

/* Behind Ctrl-A, as on a terminal without a screen. */
static void do_escape(struct curses *c, wint_t character)
{
    struct head *head;
    switch (character) {
    case 'x': vm_request_end(c->vm, VERDICT_QUIT, 0, "Ctrl-A x"); break;
    case 'a':
    case CTRL_A: type_character(c, CTRL_A); break;
    case 'h':
    case '?': c->help = c->stale = true; break;
    default:
        head = character >= '1' && character <= '9' ? head_at(c->vm, character - '1') : NULL;
        if (head)
            show(c, head);
    }
}

static void on_input(struct curses *c, int kind, wint_t key)
{
    if (c->help && !(kind == KEY_CODE_YES && key == KEY_RESIZE)) {
        c->help = false;
        c->stale = true;
    } else if (c->escaped) {
        c->escaped = false;
        do_escape(c, key);
    } else if (kind != KEY_CODE_YES && key == CTRL_A) {
        c->escaped = true;
    } else if (kind != KEY_CODE_YES && key == 27 && !c->alt) {
        c->alt = true;
        return;
    } else {
        if (c->alt)
            keyboard_key(c->keyboard, key_by_name("alt"), true);
        if (kind == KEY_CODE_YES)
            type_function(c, key);
        else
            type_character(c, key);
        keyboard_key(c->keyboard, key_by_name("alt"), false);
    }
    c->alt = false;
}

static void on_stdin(void *opaque, uint32_t ready)
{
    struct curses *c = opaque;
    wint_t key;
    int kind;
    bool any = false;
    while ((kind = c->lib.wget_wch(c->window, &key)) != ERR) {
        on_input(c, kind, key);
        any = true;
    }
    if (c->alt) { /* nothing behind it: the key itself */
        c->alt = false;
        tap(c, key_by_name("esc"));
    }
    if (!any && ready & (EPOLLHUP | EPOLLERR))
        loop_unwatch(c->vm->loop, 0);
}

/* ---- coming and going ------------------------------------------------------------------------------ */
/* Should the process crash: attributes off, the cursor seen, the keypad as it was, the screen from before. */
static void prepare_for_crash(struct curses *c, const struct termios *before)
{
    static const char *const capabilities[] = { "sgr0", "cnorm", "rmkx", "rmcup" };
    char undo[64] = "";
    for (size_t i = 0; i < ARRAY_LEN(capabilities); i++) {
        const char *text = c->lib.tigetstr((char *)capabilities[i]);
        bool is_there = text && text != (const char *)-1;
        size_t n = is_there ? strcspn(text, "$") : 0; /* delays follow */
        if (strlen(undo) + n < sizeof(undo))
            strncat(undo, text, n);
    }
    chardev_keep_terminal(before, undo);
}

static struct error *open_terminal(struct curses *c)
{
    struct error *err = library_open("libncursesw.so.6", names, ARRAY_LEN(names), &c->lib);
    if (err)
        return err;
    struct termios before;
    tcgetattr(0, &before);
    setlocale(LC_CTYPE, ""); /* how to write what is not ASCII */
    c->screen = c->lib.newterm(NULL, stdout, stdin);
    if (!c->screen)
        return error_new("the terminal '%s' (TERM) is not known",
                         getenv("TERM") ? getenv("TERM") : "");
    c->window = c->lib.newwin(0, 0, 0, 0);
    c->lib.raw();
    c->lib.noecho();
    c->lib.nonl();
    c->lib.set_escdelay(25);
    c->lib.keypad(c->window, TRUE);
    c->lib.nodelay(c->window, TRUE);
    prepare_for_crash(c, &before);
    c->colours = c->lib.has_colors() && c->lib.start_color() == OK;
    for (short pair = 0; pair < N_COLOURS * N_COLOURS && c->colours; pair++)
        c->lib.init_pair((short)(pair + 1), pair % N_COLOURS, pair / N_COLOURS);
    return NULL;
}

struct error *curses_add(struct vm *vm, const char *text, bool full_screen)
{
    struct faces *f = faces_of(vm);
    if (*text)
        return error_new("'curses' takes no options");
    if (f->curses)
        return error_new("the terminal is drawn on already");
    if (!isatty(0) || !isatty(1))
        return error_new("'curses' needs a terminal: standard input and output are to be one");
    struct curses *c = xcalloc(1, sizeof(*c));
    c->vm = vm;
    struct error *err = open_terminal(c);
    if (err) {
        free(c);
        return err;
    }
    f->curses = c;
    c->keyboard = keyboard_new(vm);
    c->viewer = viewer_new(vm, &viewer_ops, c);
    show(c, head_at(vm, 0));
    loop_watch(vm->loop, 0, EPOLLIN, on_stdin, c);
    loop_add_prepare(vm->loop, before_wait, c);
    return NULL;
}

void curses_free(struct vm *vm)
{
    struct curses *c = vm->faces ? vm->faces->curses : NULL;
    if (!c)
        return;
    vm->faces->curses = NULL;
    loop_remove_prepare(vm->loop, before_wait, c);
    loop_unwatch(vm->loop, 0);
    viewer_free(c->viewer);
    keyboard_free(c->keyboard);
    c->lib.delwin(c->window);
    c->lib.endwin();
    chardev_release_terminal();
    c->lib.delscreen(c->screen);
    free(c);
}
