/* One table a file: ui/qmp_NAME.c has qmp_NAME_table. */
#pragma once

struct qmp_table;

extern const struct qmp_table qmp_machine_table, qmp_meta_table, qmp_qom_table, qmp_run_table;
