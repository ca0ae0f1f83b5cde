#include "ui/pointer.h"

#include "core/error.h"
#include "core/util.h"
#include "hw/input/input.h"
#include "ui/display.h"
#include "ui/faces.h"

#include <linux/input-event-codes.h>

static const struct {
    enum input_kind kind;
    const char *name;
} kinds[MAX_POINTERS] = { { INPUT_TABLET, "tablet" }, { INPUT_MOUSE, "mouse" } };

/* The one the user chose while it is there, else the first of the list. */
static enum input_kind current(struct vm *vm)
{
    unsigned chosen = faces_of(vm)->pointer_chosen;
    if (chosen && input_available(vm, (enum input_kind)(chosen - 1)))
        return (enum input_kind)(chosen - 1);
    return input_available(vm, INPUT_TABLET) ? INPUT_TABLET : INPUT_MOUSE;
}

bool pointer_is_absolute(struct vm *vm)
{
    return current(vm) == INPUT_TABLET;
}

void pointer_init(struct pointer *p, struct vm *vm)
{
    *p = (struct pointer){ .vm = vm, .x = -1, .y = -1 };
}

void pointer_end(struct pointer *p)
{
    pointer_move(p, 0, 0, 0);
}

/* Events for the changes of the buttons; at most 5. */
static size_t add_buttons(struct pointer *p, unsigned buttons, struct input_event *events)
{
    static const uint16_t codes[] = { BTN_LEFT, BTN_MIDDLE, BTN_RIGHT, BTN_SIDE, BTN_EXTRA };
    size_t n = 0;
    for (unsigned i = 0; i < ARRAY_LEN(codes); i++)
        if ((p->buttons ^ buttons) >> i & 1)
            events[n++] = (struct input_event){ INPUT_EV_KEY, codes[i], buttons >> i & 1 };
    p->buttons = buttons;
    return n;
}

static void send(struct pointer *p, enum input_kind kind, const struct input_event *events,
                 size_t n)
{
    if (!n)
        return;
    input_send_event(p->vm, kind, events, n);
    viewer_hurry(p->vm);
}

void pointer_move(struct pointer *p, int dx, int dy, unsigned buttons)
{
    struct input_event events[8];
    size_t n = 0;
    if (dx)
        events[n++] = (struct input_event){ INPUT_EV_REL, REL_X, (uint32_t)dx };
    if (dy)
        events[n++] = (struct input_event){ INPUT_EV_REL, REL_Y, (uint32_t)dy };
    n += add_buttons(p, buttons, events + n);
    send(p, current(p->vm), events, n);
}

static uint32_t scaled(int at, unsigned size)
{
    int most = (int)size - 1;
    at = MAX(0, MIN(at, most));
    return most > 0 ? (uint32_t)((int64_t)at * INPUT_ABS_MAX / most) : 0;
}

void pointer_place(struct pointer *p, int x, int y, unsigned width, unsigned height,
                   unsigned buttons)
{
    struct input_event events[8];
    bool known = p->x >= 0;
    int dx = x - p->x, dy = y - p->y;
    p->x = x;
    p->y = y;
    if (!pointer_is_absolute(p->vm)) {
        pointer_move(p, known ? dx : 0, known ? dy : 0, buttons);
        return;
    }
    events[0] = (struct input_event){ INPUT_EV_ABS, ABS_X, scaled(x, width) };
    events[1] = (struct input_event){ INPUT_EV_ABS, ABS_Y, scaled(y, height) };
    send(p, INPUT_TABLET, events, 2 + add_buttons(p, buttons, events + 2));
}

void pointer_wheel(struct pointer *p, int up, int right)
{
    struct input_event events[2];
    size_t n = 0;
    if (up)
        events[n++] = (struct input_event){ INPUT_EV_REL, REL_WHEEL, (uint32_t)up };
    if (right)
        events[n++] = (struct input_event){ INPUT_EV_REL, REL_HWHEEL, (uint32_t)right };
    send(p, current(p->vm), events, n);
}

size_t pointers_list(struct vm *vm, struct pointer_info out[MAX_POINTERS])
{
    size_t n = 0;
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
        if (input_available(vm, kinds[i].kind))
            out[n++] = (struct pointer_info){ i, kinds[i].name, current(vm) == kinds[i].kind,
                                              kinds[i].kind == INPUT_TABLET };
    return n;
}

struct error *pointers_choose(struct vm *vm, unsigned index)
{
    if (index >= MAX_POINTERS || !input_available(vm, kinds[index].kind))
        return error_new("there is no pointer %u; info mice lists them", index);
    faces_of(vm)->pointer_chosen = 1 + kinds[index].kind;
    return NULL;
}
