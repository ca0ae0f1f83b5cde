/* The subjects, one line each, in the order that help shows. */
#include "ui/hmp_tables.h"

#include "core/util.h"
#include "ui/hmp.h"

const struct hmp_table *const hmp_tables[] = {
    &hmp_help_table, &hmp_run_table,    &hmp_state_table,   &hmp_machine_table, &hmp_buses_table,
    &hmp_qom_table,  &hmp_memory_table, &hmp_devices_table, &hmp_display_table, &hmp_code_table,
};
const size_t n_hmp_tables = ARRAY_LEN(hmp_tables);
