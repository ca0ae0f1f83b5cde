/* Sound back ends. */
#include "core/backends.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/audio.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"

static json_t *direction_info(const struct audio_settings *s)
{
    return json_pack("{sisiss}", "frequency", (int)s->rate, "channels", (int)s->channels, "format",
                     audio_format_names[s->format]);
}

static void add_info(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    struct audio_info info;
    if (kind != BACKEND_AUDIO)
        return;
    audio_query(backend, &info);
    json_t *one =
        json_pack("{sssssi}", "id", id, "driver", info.driver, "timer-period", (int)info.period_us);
    if (info.path)
        json_object_set_new(one, "path", json_string(info.path));
    if (info.set[AUDIO_OUT])
        json_object_set_new(one, "out", direction_info(&info.of[AUDIO_OUT]));
    if (info.set[AUDIO_IN])
        json_object_set_new(one, "in", direction_info(&info.of[AUDIO_IN]));
    json_array_append_new(opaque, one);
}

static struct error *query(struct qmp_call *c)
{
    c->reply = json_array();
    backends_each(c->vm, add_info, c->reply);
    return NULL;
}

static const struct qmp_command commands[] = {
    { "query-audiodevs", "", "[Audiodev]", "where sound goes, as -audiodev said", query },
};

#define DIRECTIONS "*in:AudiodevPerDirectionOptions *out:AudiodevPerDirectionOptions"
static const struct qmp_type types[] = {
    QMP_ENUM_TYPE("AudiodevDriver", "none sdl wav"),
    QMP_ENUM_TYPE("AudioFormat", "u8 s8 u16 s16 u32 s32 f32"),
    QMP_STRUCT_TYPE("AudiodevPerDirectionOptions",
                    "*mixing-engine:bool *fixed-settings:bool *frequency:uint32 *channels:uint32 "
                    "*voices:uint32 *format:AudioFormat *buffer-length:uint32"),
    QMP_UNION_TYPE("Audiodev", "id:str driver:AudiodevDriver *timer-period:uint32", "driver",
                   "none:AudiodevGenericOptions sdl:AudiodevSdlOptions wav:AudiodevWavOptions"),
    QMP_STRUCT_TYPE(
        "AudiodevSdlPerDirectionOptions",
        "*mixing-engine:bool *fixed-settings:bool *frequency:uint32 *channels:uint32 "
        "*voices:uint32 *format:AudioFormat *buffer-length:uint32 *buffer-count:uint32"),
    QMP_STRUCT_TYPE("AudiodevSdlOptions", "*in:AudiodevSdlPerDirectionOptions "
                                          "*out:AudiodevSdlPerDirectionOptions"),
    QMP_STRUCT_TYPE("AudiodevGenericOptions", DIRECTIONS),
    QMP_STRUCT_TYPE("AudiodevWavOptions", DIRECTIONS " *path:str"),
};

const struct qmp_table qmp_audio_table = { "Sound", TABLE(commands), TABLE(types) };
