/* One table a file: ui/hmp_NAME.c has hmp_NAME_table. */
#pragma once

struct hmp_table;

extern const struct hmp_table hmp_buses_table;
extern const struct hmp_table hmp_code_table;
extern const struct hmp_table hmp_devices_table;
extern const struct hmp_table hmp_display_table;
extern const struct hmp_table hmp_help_table;
extern const struct hmp_table hmp_machine_table;
extern const struct hmp_table hmp_memory_table;
extern const struct hmp_table hmp_qom_table;
extern const struct hmp_table hmp_run_table;
extern const struct hmp_table hmp_state_table;
