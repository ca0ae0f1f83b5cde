/* Without a JSON library there are no values of properties to be shown. */
#include "ui/hmp.h"
#include "ui/hmp_tables.h"

const struct hmp_table hmp_qom_table = { .commands = { NULL, 0 } };
