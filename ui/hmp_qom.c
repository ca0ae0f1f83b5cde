/* Objects by path or id, and their properties, for a person. */
#include "core/error.h"
#include "core/util.h"
#include "ui/hmp.h"
#include "ui/hmp_tables.h"
#include "ui/qom.h"

#include <stdlib.h>

static bool take_object(struct hmp_call *c, struct qom *q)
{
    char path[QOM_PATH];
    if (!hmp_word(c, "the object's path or id", path, sizeof(path)))
        return false;
    if (qom_find(c->vm, path, q))
        return true;
    hmp_say(c, "there is no object '%s'; qom-list / shows where they are", path);
    return false;
}

static void do_list(struct hmp_call *c)
{
    struct qom q;
    json_t *list, *entry;
    size_t i;
    if (!take_object(c, &q))
        return;
    list = qom_list(c->vm, &q);
    json_array_foreach(list, i, entry)
    {
        hmp_say(c, "%s (%s)", json_string_value(json_object_get(entry, "name")),
                json_string_value(json_object_get(entry, "type")));
    }
    json_decref(list);
}

static void do_get(struct hmp_call *c)
{
    struct qom q;
    char name[80];
    json_t *value;
    if (!take_object(c, &q) || !hmp_word(c, "the property", name, sizeof(name)) ||
        !hmp_ok(c, qom_get(c->vm, &q, name, &value)))
        return;
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    hmp_say(c, "%s", text ? text : "");
    free(text);
    json_decref(value);
}

/* A number, true and the like are what JSON says they are; anything else is text. */
static void do_set(struct hmp_call *c)
{
    struct qom q;
    char name[80], text[200];
    if (!take_object(c, &q) || !hmp_word(c, "the property", name, sizeof(name)) ||
        !hmp_word(c, "the value", text, sizeof(text)))
        return;
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!value)
        value = json_string(text);
    hmp_ok(c, qom_set(c->vm, &q, name, value));
    json_decref(value);
}

static const struct hmp_command commands[] = {
    { "qom-list", NULL, "PATH", "what an object has: qom-list /machine/peripheral", do_list,
      HMP_DEVICES },
    { "qom-get", NULL, "PATH PROPERTY", "a property's value", do_get, HMP_DEVICES },
    { "qom-set", NULL, "PATH PROPERTY VALUE", "change it", do_set, HMP_DEVICES },
};
const struct hmp_table hmp_qom_table = { .commands = TABLE(commands) };
