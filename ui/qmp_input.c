/* Keys and pointers. */
#include "core/error.h"
#include "core/util.h"
#include "hw/input/input.h"
#include "ui/keys.h"
#include "ui/pointer.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"

/* Codes of Linux's input events. */
enum {
    REL_X = 0x00,
    REL_Y = 0x01,
    REL_WHEEL = 0x08,
    ABS_X = 0x00,
    ABS_Y = 0x01,
    BTN_LEFT = 0x110,
    BTN_RIGHT = 0x111,
    BTN_MIDDLE = 0x112,
    BTN_SIDE = 0x113,
    BTN_EXTRA = 0x114,
};
enum { MOST_EVENTS = 16, MOST_KEYS = 16 };

static const char *str(json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

/* {type: number|qcode, data}. 0: there is no such key. */
static unsigned key_of(json_t *value)
{
    json_t *data = json_object_get(value, "data");
    return json_is_string(data) ? key_by_name(json_string_value(data))
                                : key_by_scancode((unsigned)json_integer_value(data));
}

static struct error *no_key(json_t *value)
{
    json_t *data = json_object_get(value, "data");
    return json_is_string(data)
               ? error_new("there is no key '%.40s'", json_string_value(data))
               : error_new("there is no key %lld", (long long)json_integer_value(data));
}

static struct error *send_key(struct qmp_call *c)
{
    json_t *keys = json_object_get(c->args, "keys"), *key;
    unsigned codes[MOST_KEYS];
    int64_t hold = qmp_int(c, "hold-time", 0);
    size_t i;
    if (json_array_size(keys) > MOST_KEYS || !json_array_size(keys))
        return error_new("Parameter 'keys' expects 1 to %d keys", MOST_KEYS);
    if (hold < 0 || hold > 60000)
        return error_new("Parameter 'hold-time' expects 0 to 60000 milliseconds");
    json_array_foreach(keys, i, key)
    {
        codes[i] = key_of(key);
        if (!codes[i])
            return no_key(key);
    }
    return keys_send(c->vm, codes, json_array_size(keys), (unsigned)hold);
}

/* ---- events ----------------------------------------------------------------------------------------------- */
static const struct {
    const char *name;
    uint16_t code;
} buttons[] = { { "left", BTN_LEFT },
                { "middle", BTN_MIDDLE },
                { "right", BTN_RIGHT },
                { "side", BTN_SIDE },
                { "extra", BTN_EXTRA } };

static bool translate_button(json_t *data, struct input_event *e)
{
    const char *name = str(data, "button");
    bool down = json_is_true(json_object_get(data, "down"));
    if (!strncmp(name, "wheel-", 6)) {
        *e = (struct input_event){ INPUT_EV_REL, REL_WHEEL,
                                   !strcmp(name, "wheel-up") ? 1u : (uint32_t)-1 };
        return down; /* a wheel does not come up again */
    }
    for (size_t i = 0; i < ARRAY_LEN(buttons); i++)
        if (!strcmp(buttons[i].name, name))
            *e = (struct input_event){ INPUT_EV_KEY, buttons[i].code, down };
    return true;
}

/* Which kind of device it is for; -1: nothing comes of it. */
static int translate(json_t *event, struct input_event *e, struct error **err)
{
    const char *type = str(event, "type");
    json_t *data = json_object_get(event, "data");
    bool is_y = str(data, "axis") && !strcmp(str(data, "axis"), "y");
    uint32_t value = (uint32_t)json_integer_value(json_object_get(data, "value"));
    if (!strcmp(type, "key")) {
        unsigned code = key_of(json_object_get(data, "key"));
        if (!code)
            *err = no_key(json_object_get(data, "key"));
        *e = (struct input_event){ INPUT_EV_KEY, (uint16_t)code,
                                   json_is_true(json_object_get(data, "down")) };
        return INPUT_KEYBOARD;
    }
    if (!strcmp(type, "btn"))
        return translate_button(data, e) ? INPUT_MOUSE : -1;
    if (!strcmp(type, "rel")) {
        *e = (struct input_event){ INPUT_EV_REL, is_y ? REL_Y : REL_X, value };
        return INPUT_MOUSE;
    }
    if (value > INPUT_ABS_MAX)
        *err = error_new("Parameter 'value' expects 0 to %d", INPUT_ABS_MAX);
    *e = (struct input_event){ INPUT_EV_ABS, is_y ? ABS_Y : ABS_X, value };
    return INPUT_TABLET;
}

static struct error *send_events(struct qmp_call *c)
{
    json_t *events = json_object_get(c->args, "events"), *event;
    struct input_event list[N_INPUT_KINDS][MOST_EVENTS], e;
    size_t n[N_INPUT_KINDS] = { 0 }, i;
    struct error *err = NULL;
    if (json_array_size(events) > MOST_EVENTS)
        return error_new("Parameter 'events' expects at most %d events", MOST_EVENTS);
    bool tablet = pointer_is_absolute(c->vm);
    json_array_foreach(events, i, event)
    {
        int kind = translate(event, &e, &err);
        if (err)
            return err;
        if (kind == INPUT_MOUSE && tablet && e.type == INPUT_EV_KEY)
            kind = INPUT_TABLET; /* its buttons are where its pointer is */
        if (kind >= 0)
            list[kind][n[kind]++] = e;
    }
    for (int kind = 0; kind < N_INPUT_KINDS; kind++)
        if (n[kind])
            input_send_event(c->vm, (enum input_kind)kind, list[kind], n[kind]);
    return NULL;
}

static struct error *query_mice(struct qmp_call *c)
{
    struct pointer_info list[MAX_POINTERS];
    size_t n = pointers_list(c->vm, list);
    c->reply = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(c->reply, json_pack("{sssisbsb}", "name", list[i].name, "index",
                                                  (int)list[i].index, "current", list[i].current,
                                                  "absolute", list[i].absolute));
    return NULL;
}

static const struct qmp_command commands[] = {
    { "send-key", "keys:[KeyValue] *hold-time:int", "", "press keys together, then let them go",
      send_key },
    { "input-send-event", "*device:str *head:int events:[InputEvent]", "",
      "events that belong together, to keyboard and pointers", send_events },
    { "query-mice", "", "[MouseInfo]", "pointers that a guest driver serves", query_mice },
};

static const struct qmp_type types[] = {
    QMP_ENUM_TYPE("KeyValueKind", "number qcode"),
    QMP_UNION_TYPE("KeyValue", "type:KeyValueKind", "type",
                   "number:IntWrapper qcode:QKeyCodeWrapper"),
    QMP_STRUCT_TYPE("IntWrapper", "data:int"),
    QMP_STRUCT_TYPE("QKeyCodeWrapper", "data:str"),
    QMP_ENUM_TYPE("InputEventKind", "key btn rel abs"),
    QMP_ENUM_TYPE("InputButton", "left middle right wheel-up wheel-down side extra"),
    QMP_ENUM_TYPE("InputAxis", "x y"),
    QMP_STRUCT_TYPE("InputKeyEvent", "key:KeyValue down:bool"),
    QMP_STRUCT_TYPE("InputBtnEvent", "button:InputButton down:bool"),
    QMP_STRUCT_TYPE("InputMoveEvent", "axis:InputAxis value:int"),
    QMP_STRUCT_TYPE("InputKeyEventWrapper", "data:InputKeyEvent"),
    QMP_STRUCT_TYPE("InputBtnEventWrapper", "data:InputBtnEvent"),
    QMP_STRUCT_TYPE("InputMoveEventWrapper", "data:InputMoveEvent"),
    QMP_UNION_TYPE("InputEvent", "type:InputEventKind", "type",
                   "key:InputKeyEventWrapper btn:InputBtnEventWrapper rel:InputMoveEventWrapper "
                   "abs:InputMoveEventWrapper"),
    QMP_STRUCT_TYPE("MouseInfo", "name:str index:int current:bool absolute:bool"),
};

const struct qmp_table qmp_input_table = { "Keys and pointers", TABLE(commands), TABLE(types) };
