#include "ui/sdl.h"

#include "core/clipboard.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/cp437.h"
#include "ui/display.h"
#include "ui/faces.h"
#include "ui/keys.h"
#include "ui/library.h"
#include "ui/pointer.h"
#include "ui/sdl_keys.h"

#define SDL_MAIN_HANDLED
#include <SDL2/SDL.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define FUNCTIONS(X)                      \
    X(SDL_SetMainReady)                   \
    X(SDL_SetHint)                        \
    X(SDL_InitSubSystem)                  \
    X(SDL_QuitSubSystem)                  \
    X(SDL_GetCurrentVideoDriver)          \
    X(SDL_GetError)                       \
    X(SDL_StopTextInput)                  \
    X(SDL_PollEvent)                      \
    X(SDL_CreateWindow)                   \
    X(SDL_DestroyWindow)                  \
    X(SDL_GetWindowID)                    \
    X(SDL_GetWindowFlags)                 \
    X(SDL_SetWindowTitle)                 \
    X(SDL_SetWindowSize)                  \
    X(SDL_SetWindowFullscreen)            \
    X(SDL_SetWindowGrab)                  \
    X(SDL_ShowWindow)                     \
    X(SDL_HideWindow)                     \
    X(SDL_CreateRenderer)                 \
    X(SDL_DestroyRenderer)                \
    X(SDL_RenderSetLogicalSize)           \
    X(SDL_SetRenderDrawColor)             \
    X(SDL_RenderClear)                    \
    X(SDL_RenderCopy)                     \
    X(SDL_RenderPresent)                  \
    X(SDL_CreateTexture)                  \
    X(SDL_DestroyTexture)                 \
    X(SDL_UpdateTexture)                  \
    X(SDL_SetTextureBlendMode)            \
    X(SDL_SetRelativeMouseMode)           \
    X(SDL_ShowCursor)                     \
    X(SDL_CreateRGBSurfaceWithFormatFrom) \
    X(SDL_FreeSurface)                    \
    X(SDL_CreateColorCursor)              \
    X(SDL_SetCursor)                      \
    X(SDL_FreeCursor)                     \
    X(SDL_GetModState)                    \
    X(SDL_GetClipboardText)               \
    X(SDL_SetClipboardText)               \
    X(SDL_free)
struct sdl_library {
    FUNCTIONS(LIBRARY_MEMBER)
};
static const char *const names[] = { FUNCTIONS(LIBRARY_NAME) };

/* How often to look for events: while a window is seen, and while none is. */
enum { SEEN_MS = 10, HIDDEN_MS = 100, MAX_PASTE = 16 * 1024 };
enum close_action { CLOSE_QUIT, CLOSE_NOTHING, CLOSE_POWERDOWN };

struct window {
    struct sdl *sdl;
    struct head *head;
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *texture, *cursor; /* cursor: while the pointer is drawn here */
    unsigned width, height;        /* the texture's */
    struct rect damage;            /* not in the texture yet; width 0: none */
    bool stale;                    /* to be presented */
    bool hidden, sized_by_user;
    unsigned wish_width, wish_height; /* to be told to the guest; 0: nothing */
    struct window *next;
};

struct sdl {
    struct vm *vm;
    struct sdl_library lib;
    struct viewer *viewer;
    struct window *windows;
    struct window *grabbed;
    SDL_Cursor *cursor; /* the guest's shape on the host's pointer */
    struct keyboard *keyboard;
    struct pointer pointer;
    int timer_fd;
    unsigned wait_ms;
    uint16_t grab_mod[3];  /* codes of keys that make hot keys; 0: fewer */
    const char *grab_keys; /* what the user is told */
    bool full_screen, show_cursor;
    enum close_action on_close;
    struct clipboard_peer clipboard;
};

/* ---- pictures -------------------------------------------------------------------------------- */
static struct window *window_of(struct sdl *s, const struct head *head)
{
    struct window *w = s->windows;
    while (w && w->head != head)
        w = w->next;
    return w;
}

static struct window *window_by_id(struct sdl *s, uint32_t id)
{
    struct window *w = s->windows;
    while (w && s->lib.SDL_GetWindowID(w->window) != id)
        w = w->next;
    return w;
}

static void set_title(struct window *w)
{
    struct sdl *s = w->sdl;
    char number[16] = "", *title;
    if (window_of(s, head_at(s->vm, 1)))
        snprintf(number, sizeof(number), " - %u", head_index(w->head) + 1);
    title = xasprintf("Tandem (%s)%s%s%s%s%s", s->vm->name ? s->vm->name : "guest", number,
                      s->vm->state == RUN_RUNNING ? "" : " [stopped]",
                      s->grabbed == w ? " - press " : "", s->grabbed == w ? s->grab_keys : "",
                      s->grabbed == w ? "-G to release the pointer" : "");
    s->lib.SDL_SetWindowTitle(w->window, title);
    free(title);
}

static void set_titles(struct sdl *s)
{
    for (struct window *w = s->windows; w; w = w->next)
        set_title(w);
}

static void damage_all(struct window *w)
{
    w->damage = (struct rect){ 0, 0, head_width(w->head), head_height(w->head) };
    w->stale = true;
}

static bool is_full_screen(const struct window *w)
{
    return w->sdl->lib.SDL_GetWindowFlags(w->window) & SDL_WINDOW_FULLSCREEN;
}

/* A texture of the screen's size; the window follows unless the user has given it a size, and scales. */
static void fit(struct window *w)
{
    const struct sdl_library *lib = &w->sdl->lib;
    unsigned width = head_width(w->head), height = head_height(w->head);
    if (!w->texture || width != w->width || height != w->height) {
        if (w->texture)
            lib->SDL_DestroyTexture(w->texture);
        w->texture = lib->SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_RGB888,
                                            SDL_TEXTUREACCESS_STREAMING, (int)width, (int)height);
        lib->SDL_RenderSetLogicalSize(w->renderer, (int)width, (int)height);
        if (!is_full_screen(w) && !w->sized_by_user)
            lib->SDL_SetWindowSize(w->window, (int)width, (int)height);
        w->width = width;
        w->height = height;
    }
    damage_all(w);
}

static void upload(struct window *w)
{
    struct rect r = w->damage;
    const uint32_t *pixels = head_pixels(w->head) + (size_t)r.y * w->width + r.x;
    SDL_Rect to = { (int)r.x, (int)r.y, (int)r.width, (int)r.height };
    if (r.width)
        w->sdl->lib.SDL_UpdateTexture(w->texture, &to, pixels, (int)(4 * w->width));
    w->damage.width = 0;
}

/* The guest's pointer where the host's is not it: while it is grabbed. */
static void draw_cursor(struct window *w)
{
    const struct sdl_library *lib = &w->sdl->lib;
    const struct cursor_shape *shape = head_cursor(w->head);
    if (!shape || !shape->width || !shape->height || pointer_is_absolute(w->sdl->vm))
        return;
    if (!w->cursor) {
        w->cursor =
            lib->SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_ARGB8888, SDL_TEXTUREACCESS_STATIC,
                                   (int)shape->width, (int)shape->height);
        lib->SDL_UpdateTexture(w->cursor, NULL, shape->argb, (int)(4 * shape->width));
        lib->SDL_SetTextureBlendMode(w->cursor, SDL_BLENDMODE_BLEND);
    }
    SDL_Rect to = { .w = (int)shape->width, .h = (int)shape->height };
    head_cursor_place(w->head, &to.x, &to.y);
    lib->SDL_RenderCopy(w->renderer, w->cursor, NULL, &to);
}

static void present(struct window *w)
{
    const struct sdl_library *lib = &w->sdl->lib;
    if (!w->stale || !w->texture)
        return;
    w->stale = false;
    upload(w);
    lib->SDL_SetRenderDrawColor(w->renderer, 0, 0, 0, 255);
    lib->SDL_RenderClear(w->renderer);
    lib->SDL_RenderCopy(w->renderer, w->texture, NULL, NULL);
    draw_cursor(w);
    lib->SDL_RenderPresent(w->renderer);
}

/* ---- windows ----------------------------------------------------------------------------------- */
static void set_seen(struct window *w, bool seen)
{
    w->hidden = !seen;
    viewer_watch(w->sdl->viewer, w->head, seen);
    if (seen)
        damage_all(w);
}

static void free_window(struct window *w)
{
    struct sdl *s = w->sdl;
    struct window **at = &s->windows;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (s->grabbed == w)
        s->grabbed = NULL;
    if (w->cursor)
        s->lib.SDL_DestroyTexture(w->cursor);
    if (w->texture)
        s->lib.SDL_DestroyTexture(w->texture);
    if (w->renderer)
        s->lib.SDL_DestroyRenderer(w->renderer);
    if (w->window)
        s->lib.SDL_DestroyWindow(w->window);
    free(w);
}

/* False: there can be none; SDL_GetError says why. */
static bool new_window(struct sdl *s, struct head *head)
{
    struct window *w = xcalloc(1, sizeof(*w)), **end = &s->windows;
    uint32_t flags =
        SDL_WINDOW_RESIZABLE | (s->full_screen && !s->windows ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
    while (*end)
        end = &(*end)->next;
    *end = w;
    *w = (struct window){ .sdl = s, .head = head };
    w->window = s->lib.SDL_CreateWindow("Tandem", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED,
                                        (int)head_width(head), (int)head_height(head), flags);
    /* A renderer of the graphics card would load drivers, which the sandbox is to keep out. */
    if (w->window)
        w->renderer = s->lib.SDL_CreateRenderer(w->window, -1, SDL_RENDERER_SOFTWARE);
    if (!w->renderer) {
        free_window(w);
        return false;
    }
    fit(w);
    set_titles(s);
    return true;
}

static void on_changed(void *opaque, struct head *head, bool gone)
{
    struct sdl *s = opaque;
    struct window *w = window_of(s, head);
    if (w && gone) {
        viewer_watch(s->viewer, head, false);
        free_window(w);
    } else if (w) {
        fit(w);
    } else if (!gone && new_window(s, head) && s->viewer) {
        set_seen(window_of(s, head), true);
    }
}

static void on_damaged(void *opaque, struct head *head, struct rect r)
{
    struct window *w = window_of(opaque, head);
    if (!w)
        return;
    if (w->damage.width) {
        unsigned x = MIN(r.x, w->damage.x), y = MIN(r.y, w->damage.y);
        unsigned right = MAX(r.x + r.width, w->damage.x + w->damage.width);
        unsigned bottom = MAX(r.y + r.height, w->damage.y + w->damage.height);
        r = (struct rect){ x, y, right - x, bottom - y };
    }
    w->damage = r;
    w->stale = true;
}

static void set_host_cursor(struct sdl *s, const struct cursor_shape *shape)
{
    SDL_Cursor *cursor = NULL;
    if (shape && shape->width && shape->height) {
        SDL_Surface *surface = s->lib.SDL_CreateRGBSurfaceWithFormatFrom(
            (void *)shape->argb, (int)shape->width, (int)shape->height, 32, (int)(4 * shape->width),
            SDL_PIXELFORMAT_ARGB8888);
        cursor = surface
                     ? s->lib.SDL_CreateColorCursor(surface, (int)shape->hot_x, (int)shape->hot_y)
                     : NULL;
        s->lib.SDL_FreeSurface(surface);
    }
    if (cursor)
        s->lib.SDL_SetCursor(cursor);
    if (s->cursor)
        s->lib.SDL_FreeCursor(s->cursor);
    s->cursor = cursor;
}

/* The host's pointer: the guest's shape where the guest follows it; none where the guest draws one itself. */
static void choose_cursor(struct sdl *s)
{
    bool absolute = pointer_is_absolute(s->vm);
    bool shown = s->show_cursor || (absolute ? s->cursor != NULL : !s->grabbed);
    s->lib.SDL_ShowCursor(shown ? SDL_ENABLE : SDL_DISABLE);
}

static void on_cursor(void *opaque, struct head *head)
{
    struct sdl *s = opaque;
    struct window *w = window_of(s, head);
    if (!w)
        return;
    if (w->cursor)
        s->lib.SDL_DestroyTexture(w->cursor);
    w->cursor = NULL;
    w->stale = true;
    if (pointer_is_absolute(s->vm) || !s->grabbed)
        set_host_cursor(s, head_cursor(head));
    choose_cursor(s);
}

static const struct viewer_ops viewer_ops = { on_changed, on_damaged, on_cursor };

static void grab(struct sdl *s, struct window *w)
{
    if (s->grabbed)
        s->lib.SDL_SetWindowGrab(s->grabbed->window, SDL_FALSE);
    s->grabbed = w;
    if (w)
        s->lib.SDL_SetWindowGrab(w->window, SDL_TRUE);
    s->lib.SDL_SetRelativeMouseMode(w && !pointer_is_absolute(s->vm) ? SDL_TRUE : SDL_FALSE);
    choose_cursor(s);
    set_titles(s);
}

/* ---- keys ---------------------------------------------------------------------------------------- */
static void paste(struct sdl *s)
{
    char *text = s->lib.SDL_GetClipboardText();
    if (text && strlen(text) <= MAX_PASTE)
        error_free(keys_type(s->vm, text)); /* of what no key types, nothing is typed */
    s->lib.SDL_free(text);
}

/* The host's clipboard may be new, perhaps by our own doing. */
static void share_clipboard(struct sdl *s)
{
    char *text = clipboard_has_guest(s->vm) ? s->lib.SDL_GetClipboardText() : NULL;
    if (text && *text)
        clipboard_set(s->vm, &s->clipboard, text, strlen(text));
    if (text)
        s->lib.SDL_free(text);
}

static void on_clipboard(struct clipboard_peer *peer)
{
    struct sdl *s = container_of(peer, struct sdl, clipboard);
    size_t n;
    s->lib.SDL_SetClipboardText(clipboard_text(s->vm, &n));
}

static void copy(struct sdl *s, struct window *w)
{
    const struct text_screen *screen = head_text(w->head);
    if (!screen)
        return;
    char *text = text_screen_utf8(screen);
    s->lib.SDL_SetClipboardText(text);
    free(text);
}

static void toggle_screen(struct sdl *s, unsigned n)
{
    struct window *w = window_of(s, head_at(s->vm, n));
    if (!w || (!w->hidden && s->windows == w && !w->next))
        return; /* the only one stays */
    if (w->hidden)
        s->lib.SDL_ShowWindow(w->window);
    else
        s->lib.SDL_HideWindow(w->window);
}

static void do_hot_key(struct sdl *s, struct window *w, SDL_Scancode key)
{
    switch (key) {
    case SDL_SCANCODE_F:
        s->lib.SDL_SetWindowFullscreen(w->window,
                                       is_full_screen(w) ? 0 : SDL_WINDOW_FULLSCREEN_DESKTOP);
        damage_all(w);
        break;
    case SDL_SCANCODE_G: grab(s, s->grabbed ? NULL : w); break;
    case SDL_SCANCODE_U:
        w->sized_by_user = false;
        s->lib.SDL_SetWindowSize(w->window, (int)w->width, (int)w->height);
        break;
    case SDL_SCANCODE_V: paste(s); break;
    case SDL_SCANCODE_C: copy(s, w); break;
    default:
        if (key >= SDL_SCANCODE_1 && key <= SDL_SCANCODE_9)
            toggle_screen(s, key - SDL_SCANCODE_1);
    }
}

static bool is_hot_key(SDL_Scancode key)
{
    return key == SDL_SCANCODE_F || key == SDL_SCANCODE_G || key == SDL_SCANCODE_U ||
           key == SDL_SCANCODE_V || key == SDL_SCANCODE_C ||
           (key >= SDL_SCANCODE_1 && key <= SDL_SCANCODE_9);
}

static bool holds_grab_mod(const struct sdl *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->grab_mod); i++)
        if (s->grab_mod[i] && !keyboard_holds(s->keyboard, s->grab_mod[i]))
            return false;
    return true;
}

static void on_key(struct sdl *s, const SDL_KeyboardEvent *e)
{
    struct window *w = window_by_id(s, e->windowID);
    bool down = e->type == SDL_KEYDOWN;
    SDL_Scancode key = e->keysym.scancode;
    if (w && down && !e->repeat && is_hot_key(key) && holds_grab_mod(s)) {
        keyboard_release_all(s->keyboard);
        do_hot_key(s, w, key);
    } else if ((unsigned)key < SDL_N_KEYS) {
        keyboard_key(s->keyboard, sdl_keys[key], down);
    }
}

static void sync_locks(struct sdl *s)
{
    SDL_Keymod mod = s->lib.SDL_GetModState();
    keyboard_sync_locks(s->keyboard, (mod & KMOD_NUM ? 1 : 0) | (mod & KMOD_CAPS ? 2 : 0), 3);
}

/* ---- the pointer ------------------------------------------------------------------------------- */
static unsigned button_of(uint8_t button)
{
    switch (button) {
    case SDL_BUTTON_LEFT: return POINTER_LEFT;
    case SDL_BUTTON_MIDDLE: return POINTER_MIDDLE;
    case SDL_BUTTON_RIGHT: return POINTER_RIGHT;
    case SDL_BUTTON_X1: return POINTER_SIDE;
    case SDL_BUTTON_X2: return POINTER_EXTRA;
    }
    return 0;
}

static void on_motion(struct sdl *s, const SDL_MouseMotionEvent *e)
{
    struct window *w = window_by_id(s, e->windowID);
    if (w && pointer_is_absolute(s->vm))
        pointer_place(&s->pointer, e->x, e->y, w->width, w->height, s->pointer.buttons);
    else if (w && s->grabbed)
        pointer_move(&s->pointer, e->xrel, e->yrel, s->pointer.buttons);
}

/* The first click into a window without a tablet takes the pointer, and is not the guest's. */
static void on_button(struct sdl *s, const SDL_MouseButtonEvent *e)
{
    struct window *w = window_by_id(s, e->windowID);
    unsigned bit = button_of(e->button), buttons = s->pointer.buttons;
    bool down = e->type == SDL_MOUSEBUTTONDOWN, absolute = pointer_is_absolute(s->vm);
    if (!w || (!absolute && !s->grabbed && !down))
        return;
    if (!absolute && !s->grabbed) {
        grab(s, w);
        return;
    }
    buttons = down ? buttons | bit : buttons & ~bit;
    if (absolute)
        pointer_place(&s->pointer, e->x, e->y, w->width, w->height, buttons);
    else
        pointer_move(&s->pointer, 0, 0, buttons);
}

/* ---- events -------------------------------------------------------------------------------------- */
static void close_window(struct sdl *s, struct window *w)
{
    unsigned n = 0;
    for (struct window *other = s->windows; other; other = other->next)
        n += !other->hidden;
    if (w && n > 1) {
        s->lib.SDL_HideWindow(w->window);
        return;
    }
    if (s->on_close == CLOSE_NOTHING ||
        (s->on_close == CLOSE_POWERDOWN && vm_press_power_button(s->vm)))
        return;
    vm_request_end(s->vm, VERDICT_QUIT, 0, "window closed");
}

static void on_resized(struct window *w, int width, int height)
{
    damage_all(w);
    if (is_full_screen(w) || ((unsigned)width == w->width && (unsigned)height == w->height))
        return;
    w->sized_by_user = !head_takes_wishes(w->head);
    w->wish_width = (unsigned)width;
    w->wish_height = (unsigned)height;
}

static void on_window(struct sdl *s, const SDL_WindowEvent *e)
{
    struct window *w = window_by_id(s, e->windowID);
    if (!w)
        return;
    switch (e->event) {
    case SDL_WINDOWEVENT_SHOWN:
    case SDL_WINDOWEVENT_RESTORED: set_seen(w, true); break;
    case SDL_WINDOWEVENT_HIDDEN:
    case SDL_WINDOWEVENT_MINIMIZED: set_seen(w, false); break;
    case SDL_WINDOWEVENT_EXPOSED: w->stale = true; break;
    case SDL_WINDOWEVENT_RESIZED: on_resized(w, e->data1, e->data2); break;
    case SDL_WINDOWEVENT_FOCUS_GAINED:
        share_clipboard(s); /* on X11, SDL tells of news only to who was its owner */
        sync_locks(s);
        choose_cursor(s);
        break;
    case SDL_WINDOWEVENT_FOCUS_LOST:
        keyboard_release_all(s->keyboard);
        pointer_end(&s->pointer);
        grab(s, NULL);
        break;
    case SDL_WINDOWEVENT_CLOSE: close_window(s, w); break;
    }
}

static void on_event(struct sdl *s, const SDL_Event *e)
{
    switch (e->type) {
    case SDL_KEYDOWN:
    case SDL_KEYUP: on_key(s, &e->key); break;
    case SDL_MOUSEMOTION: on_motion(s, &e->motion); break;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP: on_button(s, &e->button); break;
    case SDL_MOUSEWHEEL: {
        int sign = e->wheel.direction == SDL_MOUSEWHEEL_FLIPPED ? -1 : 1;
        pointer_wheel(&s->pointer, sign * e->wheel.y, sign * e->wheel.x);
        break;
    }
    case SDL_WINDOWEVENT: on_window(s, &e->window); break;
    case SDL_CLIPBOARDUPDATE: share_clipboard(s); break;
    case SDL_RENDER_TARGETS_RESET:
        for (struct window *w = s->windows; w; w = w->next)
            damage_all(w);
        break;
    }
}

static void set_timer(struct sdl *s, unsigned ms)
{
    struct timespec every = { 0, ms * 1000000l };
    if (s->wait_ms != ms)
        timerfd_settime(s->timer_fd, 0, &(struct itimerspec){ every, every }, NULL);
    s->wait_ms = ms;
}

static void on_timer(void *opaque, uint32_t ready)
{
    struct sdl *s = opaque;
    SDL_Event e;
    uint64_t n;
    bool seen = false;
    if (read(s->timer_fd, &n, sizeof(n)) != sizeof(n))
        return;
    while (s->lib.SDL_PollEvent(&e))
        on_event(s, &e);
    for (struct window *w = s->windows; w; w = w->next) {
        if (w->wish_width)
            head_wish(w->head, w->wish_width, w->wish_height);
        w->wish_width = 0;
        present(w);
        seen |= !w->hidden;
    }
    set_timer(s, seen ? SEEN_MS : HIDDEN_MS);
}

static void on_run(void *opaque, bool running)
{
    set_titles(opaque);
}

/* ---- options ----------------------------------------------------------------------------------------- */
static struct error *read_word(struct options *o, const char *name, const char *const *words,
                               unsigned *value)
{
    const char *text = options_get(o, name);
    char list[120] = "";
    for (unsigned i = 0; words[i]; i++) {
        if (!text || !strcmp(text, words[i])) {
            *value = text ? i : *value;
            return NULL;
        }
        strcat(strcat(list, i ? ", " : ""), words[i]);
    }
    return error_new("%s='%s' is none of %s", name, text, list);
}

static struct error *read_options(struct sdl *s, const char *text)
{
    static const char *const known[] = { "grab-mod", "show-cursor", "window-close", "full-screen",
                                         "gl" };
    static const char *const mods[] = { "lctrl-lalt", "lshift-lctrl-lalt", "rctrl", NULL };
    static const char *const closes[] = { "on", "off", "powerdown", NULL };
    static const struct {
        uint16_t keys[3];
        const char *told;
    } grabs[] = { { { 29, 56 }, "Ctrl-Alt" },
                  { { 42, 29, 56 }, "Shift-Ctrl-Alt" },
                  { { 97 }, "Right-Ctrl" } };
    struct options list;
    unsigned mod = 0, closing = CLOSE_QUIT;
    bool gl = false;
    struct error *err = options_split(text, NULL, &list);
    if (err)
        return err;
    err = read_word(&list, "grab-mod", mods, &mod);
    if (!err)
        err = read_word(&list, "window-close", closes, &closing);
    if (!err)
        err = options_get_bool(&list, "show-cursor", &s->show_cursor);
    if (!err)
        err = options_get_bool(&list, "full-screen", &s->full_screen);
    if (!err)
        err = options_get_bool(&list, "gl", &gl);
    if (!err && gl)
        err = error_new("gl=on is not supported: guests draw without the host's graphics card");
    if (!err)
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    options_free(&list);
    memcpy(s->grab_mod, grabs[mod].keys, sizeof(s->grab_mod));
    s->grab_keys = grabs[mod].told;
    s->on_close = (enum close_action)closing;
    return err;
}

static struct error *open_video(struct sdl *s)
{
    static const char *const hints[][2] = {
        { SDL_HINT_NO_SIGNAL_HANDLERS, "1" },
        { SDL_HINT_VIDEO_MINIMIZE_ON_FOCUS_LOSS, "0" },
        { SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1" },
        { SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0" },
        { SDL_HINT_FRAMEBUFFER_ACCELERATION, "0" },
        { SDL_HINT_QUIT_ON_LAST_WINDOW_CLOSE, "0" },
    };
    struct error *err = library_open("libSDL2-2.0.so.0", names, ARRAY_LEN(names), &s->lib);
    if (err)
        return err;
    s->lib.SDL_SetMainReady();
    for (size_t i = 0; i < ARRAY_LEN(hints); i++)
        s->lib.SDL_SetHint(hints[i][0], hints[i][1]);
    if (s->lib.SDL_InitSubSystem(SDL_INIT_VIDEO))
        return error_new("no window can be opened: %s", s->lib.SDL_GetError());
    s->lib.SDL_StopTextInput();
    const char *driver = s->lib.SDL_GetCurrentVideoDriver();
    if (getenv("SDL_VIDEODRIVER") || (strcmp(driver, "offscreen") && strcmp(driver, "dummy")))
        return NULL;
    s->lib.SDL_QuitSubSystem(SDL_INIT_VIDEO);
    return error_new("no window can be opened: neither DISPLAY nor WAYLAND_DISPLAY leads to a "
                     "screen");
}

struct error *sdl_add(struct vm *vm, const char *text, bool full_screen)
{
    struct faces *f = faces_of(vm);
    struct sdl *s = xcalloc(1, sizeof(*s));
    *s = (struct sdl){ .vm = vm, .timer_fd = -1, .full_screen = full_screen };
    struct error *err = f->sdl ? error_new("there are windows already") : read_options(s, text);
    if (!err)
        err = open_video(s);
    if (err) {
        free(s);
        return err;
    }
    s->clipboard.changed = on_clipboard;
    clipboard_join(vm, &s->clipboard);
    s->keyboard = keyboard_new(vm);
    pointer_init(&s->pointer, vm);
    s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    loop_watch(vm->loop, s->timer_fd, EPOLLIN, on_timer, s);
    vm_on_run(vm, on_run, s);
    f->sdl = s;
    struct viewer *viewer = viewer_new(vm, &viewer_ops, s);
    s->viewer = viewer;
    for (struct window *w = s->windows; w; w = w->next)
        set_seen(w, true);
    if (!s->windows)
        err = head_at(vm, 0)
                  ? error_new("no window can be opened: %s", s->lib.SDL_GetError())
                  : error_new("the guest has no screen; give it one: -device virtio-gpu-pci");
    set_timer(s, SEEN_MS);
    if (err)
        sdl_free(vm);
    return err;
}

void sdl_free(struct vm *vm)
{
    struct sdl *s = vm->faces ? vm->faces->sdl : NULL;
    if (!s)
        return;
    vm->faces->sdl = NULL;
    vm_forget(vm, s);
    clipboard_leave(vm, &s->clipboard);
    viewer_free(s->viewer);
    keyboard_free(s->keyboard);
    pointer_end(&s->pointer);
    loop_unwatch(vm->loop, s->timer_fd);
    close(s->timer_fd);
    while (s->windows)
        free_window(s->windows);
    set_host_cursor(s, NULL);
    s->lib.SDL_QuitSubSystem(SDL_INIT_VIDEO);
    free(s);
}

const char *sdl_hindrance(void)
{
    return getenv("DISPLAY") || getenv("WAYLAND_DISPLAY")
               ? NULL
               : "neither DISPLAY nor WAYLAND_DISPLAY is set";
}
