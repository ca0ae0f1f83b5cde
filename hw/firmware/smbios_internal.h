/* Between smbios_options.c, which knows what the user may say, and smbios.c, which writes it. */
#pragma once

#include "hw/firmware/blob.h"
#include "hw/firmware/smbios.h"

enum { SMBIOS_MAX_KEYS = 12, SMBIOS_N_TYPES = 128 };

/* What was said by type=N, key by key; NULL: nothing. */
struct smbios_values {
    uint8_t type;
    char *at[SMBIOS_MAX_KEYS];
};
struct smbios_options {
    struct smbios_values *values; /* types 8 and 9 once for each, the others once */
    unsigned n_values;
    char **texts; /* type 11 */
    unsigned n_texts;
    struct blob files; /* whole structures */
    unsigned n_files;
    uint16_t largest_file;
    bool has_file[SMBIOS_N_TYPES];
};

/* The value of a key of that type, checked to be of its kind; NULL or *fallback: not given. `o` may be NULL. */
const char *smbios_text(const struct smbios_values *v, const char *key, const char *fallback);
uint64_t smbios_number(const struct smbios_values *v, const char *key, uint64_t fallback);
bool smbios_bool(const struct smbios_values *v, const char *key);
/* The nth option with this type; NULL: there is none. */
const struct smbios_values *smbios_nth(const struct smbios_options *o, unsigned type, unsigned nth);
/* "xxxxxxxx-xxxx-...", as it lies in a structure (7.2.1); false if malformed. */
bool smbios_parse_uuid(const char *text, uint8_t *uuid);
/* "major.minor", each up to 255. */
bool smbios_parse_release(const char *text, uint8_t *major, uint8_t *minor);
