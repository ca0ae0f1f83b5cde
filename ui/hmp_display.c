/* Screens and pointers, for a person. */
#include "core/device.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/display.h"
#include "ui/faces.h"
#include "ui/hmp.h"
#include "ui/hmp_tables.h"
#include "ui/pointer.h"
#include "ui/vnc.h"

#include <stdio.h>

/* screendump FILE [-f png] [DEVICE [HEAD]]; a name that ends in .png is one, too. */
static void screendump(struct hmp_call *c)
{
    char path[256], word[64], format[16] = "ppm", device[64];
    uint64_t head = 0;
    if (!hmp_word(c, "the file's name", path, sizeof(path)))
        return;
    if (strlen(path) > 4 && !strcmp(path + strlen(path) - 4, ".png"))
        strcpy(format, "png");
    bool more = hmp_optional_word(c, word, sizeof(word));
    if (more && !strcmp(word, "-f")) {
        if (!hmp_word(c, "the format", format, sizeof(format)))
            return;
        more = hmp_optional_word(c, word, sizeof(word));
    }
    snprintf(device, sizeof(device), "%s", more ? word : "");
    if (more && *c->args && !hmp_number(c, "the screen's number", &head))
        return;
    hmp_ok(c, faces_screendump(c->vm, more ? device : NULL, more ? (int)MIN(head, 255u) : -1,
                               format, path));
}

static void mouse_set(struct hmp_call *c)
{
    uint64_t index;
    if (hmp_number(c, "the pointer's number", &index))
        hmp_ok(c, pointers_choose(c->vm, (unsigned)MIN(index, UINT32_MAX)));
}

static bool is_vnc(struct hmp_call *c)
{
    char word[16];
    if (!hmp_word(c, "the protocol (vnc)", word, sizeof(word)))
        return false;
    if (strcmp(word, "vnc") != 0)
        hmp_say(c, "'%s' is not supported; accepted: vnc", word);
    return !strcmp(word, "vnc");
}

/* "-d ID" behind the rest; false: nothing like it. */
static bool take_display(struct hmp_call *c, char *word, size_t n, char *id, size_t room)
{
    bool more = hmp_optional_word(c, word, n);
    *id = 0;
    if (more && !strcmp(word, "-d")) {
        hmp_word(c, "the server's id", id, room);
        more = hmp_optional_word(c, word, n);
    }
    return more;
}

static void set_password(struct hmp_call *c)
{
    char password[64], word[64], id[64];
    if (!is_vnc(c) || !hmp_word(c, "the password", password, sizeof(password)))
        return;
    bool action = take_display(c, word, sizeof(word), id, sizeof(id));
    hmp_ok(c, faces_set_password(c->vm, *id ? id : NULL, password, action ? word : NULL));
    explicit_bzero(password, sizeof(password));
}

static void expire_password(struct hmp_call *c)
{
    char time[32], word[64], id[64];
    if (!is_vnc(c) || !hmp_word(c, "the time", time, sizeof(time)))
        return;
    take_display(c, word, sizeof(word), id, sizeof(id));
    hmp_ok(c, faces_expire_password(c->vm, *id ? id : NULL, time));
}

static void info_mice(struct hmp_call *c)
{
    struct pointer_info list[MAX_POINTERS];
    size_t n = pointers_list(c->vm, list);
    if (!n)
        hmp_say(c, "no pointer that a guest driver serves");
    for (size_t i = 0; i < n; i++)
        hmp_say(c, "%s Mouse #%u: %s%s", list[i].current ? "*" : " ", list[i].index, list[i].name,
                list[i].absolute ? " (absolute)" : "");
}

static void info_vnc(struct hmp_call *c)
{
    const struct vnc *vnc;
    struct vnc_end end;
    if (!vnc_at(c->vm, 0))
        hmp_say(c, "no VNC server");
    for (size_t i = 0; (vnc = vnc_at(c->vm, i)); i++) {
        hmp_say(c, "%s: auth %s", vnc_id(vnc), vnc_auth(vnc));
        for (size_t k = 0; vnc_listener(vnc, k, &end); k++)
            hmp_say(c, "  listens on %s:%s (%s)", end.host, end.service, end.family);
        for (size_t k = 0; vnc_viewer(vnc, k, &end); k++)
            hmp_say(c, "  viewer at %s:%s (%s)", end.host, end.service, end.family);
    }
}

static void info_screens(struct hmp_call *c)
{
    struct head *h;
    for (unsigned n = 0; (h = head_at(c->vm, n)); n++) {
        const struct device *dev = head_device(h);
        hmp_say(c, "%u: screen %u of %s, id \"%s\": %u by %u%s", n, head_index(h), dev->cls->name,
                dev->id ? dev->id : "", head_width(h), head_height(h),
                head_text(h) ? ", characters" : "");
    }
    if (!head_at(c->vm, 0))
        hmp_say(c, "no screen");
}

static const struct hmp_command commands[] = {
    { "screendump", NULL, "FILE [-f ppm|png] [DEVICE [SCREEN]]", "a picture of a screen",
      screendump },
    { "mouse_set", NULL, "NUMBER", "which pointer gets what viewers do (info mice)", mouse_set },
    { "set_password", NULL, "vnc PASSWORD [-d ID] [keep|fail|disconnect]",
      "the password of a VNC server with password=on", set_password },
    { "expire_password", NULL, "vnc now|never|+SECONDS|SECONDS [-d ID]", "until when it counts",
      expire_password },
};
static const struct hmp_command infos[] = {
    { "mice", NULL, "", "pointers that a guest driver serves", info_mice },
    { "screens", NULL, "", "the guest's screens", info_screens },
    { "vnc", NULL, "", "VNC servers and their viewers", info_vnc },
};
const struct hmp_table hmp_display_table = { TABLE(commands), TABLE(infos) };
