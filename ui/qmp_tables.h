/* One table a file: ui/qmp_NAME.c has qmp_NAME_table. */
#pragma once

struct qmp_table;

extern const struct qmp_table qmp_block_table;
extern const struct qmp_table qmp_char_table;
extern const struct qmp_table qmp_devices_table;
extern const struct qmp_table qmp_display_table;
extern const struct qmp_table qmp_fd_table;
extern const struct qmp_table qmp_input_table;
extern const struct qmp_table qmp_machine_table;
extern const struct qmp_table qmp_meta_table;
extern const struct qmp_table qmp_net_table;
extern const struct qmp_table qmp_pci_table;
extern const struct qmp_table qmp_qom_table;
extern const struct qmp_table qmp_run_table;
extern const struct qmp_table qmp_stats_table, qmp_audio_table;
