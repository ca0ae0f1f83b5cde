/* The subjects, one line each. */
#include "ui/qmp_tables.h"

#include "core/util.h"
#include "ui/qmp.h"

const struct qmp_table *const qmp_tables[] = {
    &qmp_meta_table,    &qmp_run_table,   &qmp_machine_table, &qmp_qom_table,   &qmp_devices_table,
    &qmp_pci_table,     &qmp_block_table, &qmp_char_table,    &qmp_net_table,   &qmp_input_table,
    &qmp_display_table, &qmp_fd_table,    &qmp_stats_table,   &qmp_audio_table,
};
const size_t n_qmp_tables = ARRAY_LEN(qmp_tables);
