/* QMP about itself and about the program. */
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"
#include "tandem-config.h"
#include "ui/monitor.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"

#include <stdlib.h>

/* The session handles it: it comes first, and once. */
static struct error *do_capabilities(struct qmp_call *c)
{
    return qmp_fail(c, "CommandNotFound",
                    "Capabilities negotiation is already complete, command ignored");
}

static struct error *query_version(struct qmp_call *c)
{
    c->reply = json_pack("{s{sisisi}ss}", "qemu", "major", QMP_MAJOR, "minor", QMP_MINOR, "micro",
                         QMP_MICRO, "package", "tandem-" TANDEM_VERSION);
    return NULL;
}

static struct error *query_commands(struct qmp_call *c)
{
    c->reply = json_array();
    for (size_t i = 0; i < n_qmp_tables; i++)
        for (size_t j = 0; j < qmp_tables[i]->commands.n; j++)
            json_array_append_new(c->reply,
                                  json_pack("{ss}", "name", qmp_tables[i]->commands.at[j].name));
    return NULL;
}

static struct error *query_events(struct qmp_call *c)
{
    c->reply = json_array();
    for (size_t i = 0; i < N_EVENTS; i++)
        json_array_append_new(c->reply, json_pack("{ss}", "name", qmp_events[i].name));
    return NULL;
}

static struct error *query_schema(struct qmp_call *c)
{
    c->reply = qmp_schema();
    return NULL;
}

static void add_line(void *opaque, const char *line)
{
    char **text = opaque, *longer = xasprintf("%s%s\r\n", *text, line);
    free(*text);
    *text = longer;
}

static struct error *do_human(struct qmp_call *c)
{
    char *text = xstrdup("");
    monitor_execute(c->vm, c->hooks, qmp_str(c, "command-line"), add_line, &text);
    c->reply = json_string(text);
    if (!c->reply) /* bytes of the guest that are no UTF-8 */
        c->reply = json_string("the output is no UTF-8\r\n");
    free(text);
    return NULL;
}

static const struct qmp_command commands[] = {
    { "qmp_capabilities", "*enable:[QMPCapability]", "", "start talking; once, and first",
      do_capabilities, QMP_PRECONFIG },
    { "query-version", "", "VersionInfo", "which QEMU this is like, and which Tandem",
      query_version, QMP_PRECONFIG },
    { "query-commands", "", "[CommandInfo]", "every command", query_commands, QMP_PRECONFIG },
    { "query-events", "", "[EventInfo]", "every event", query_events, QMP_PRECONFIG },
    { "query-qmp-schema", "", "[SchemaInfo]", "commands, events and their types", query_schema,
      QMP_PRECONFIG },
    { "human-monitor-command", "command-line:str *cpu-index:int", "str",
      "a command of the human monitor, and what it prints", do_human },
};

static const struct qmp_type types[] = {
    QMP_ENUM_TYPE("QMPCapability", "oob"),
    QMP_STRUCT_TYPE("VersionTriple", "major:int minor:int micro:int"),
    QMP_STRUCT_TYPE("VersionInfo", "qemu:VersionTriple package:str"),
    QMP_STRUCT_TYPE("CommandInfo", "name:str"),
    QMP_STRUCT_TYPE("EventInfo", "name:str"),
    QMP_ENUM_TYPE("SchemaMetaType", "builtin enum array object alternate command event"),
    QMP_STRUCT_TYPE("SchemaInfoObjectMember", "name:str type:str *default:any *features:[str]"),
    QMP_STRUCT_TYPE("SchemaInfoObjectVariant", "case:str type:str"),
    QMP_STRUCT_TYPE("SchemaInfoAlternateMember", "type:str"),
    QMP_STRUCT_TYPE("SchemaInfoEnumMember", "name:str *features:[str]"),
    QMP_UNION_TYPE("SchemaInfo", "name:str meta-type:SchemaMetaType *features:[str]", "meta-type",
                   "builtin:SchemaInfoBuiltin enum:SchemaInfoEnum array:SchemaInfoArray "
                   "object:SchemaInfoObject alternate:SchemaInfoAlternate "
                   "command:SchemaInfoCommand event:SchemaInfoEvent"),
    QMP_STRUCT_TYPE("SchemaInfoBuiltin", "json-type:str"),
    QMP_STRUCT_TYPE("SchemaInfoEnum", "members:[SchemaInfoEnumMember] values:[str]"),
    QMP_STRUCT_TYPE("SchemaInfoArray", "element-type:str"),
    QMP_STRUCT_TYPE("SchemaInfoObject", "members:[SchemaInfoObjectMember] *tag:str "
                                        "*variants:[SchemaInfoObjectVariant]"),
    QMP_STRUCT_TYPE("SchemaInfoAlternate", "members:[SchemaInfoAlternateMember]"),
    QMP_STRUCT_TYPE("SchemaInfoCommand", "arg-type:str ret-type:str *allow-oob:bool"),
    QMP_STRUCT_TYPE("SchemaInfoEvent", "arg-type:str"),
};

const struct qmp_table qmp_meta_table = { "QMP itself", TABLE(commands), TABLE(types) };
