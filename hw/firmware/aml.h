/* A writer of AML (ACPI 6.4, 20): what the configuration decides about the DSDT. Each line of C reads like the
 * line of ASL that it stands for; everything between an opening call and its aml_end is inside. */
#pragma once

#include "hw/firmware/blob.h"

#include <stdbool.h>

enum { AML_MAX_DEPTH = 8 };

struct aml {
    struct blob out;
    struct {
        size_t at;       /* where its PkgLength goes */
        size_t template; /* of a resource template: its BufferSize; else 0 */
    } open[AML_MAX_DEPTH];
    unsigned depth;
};

/* Names are "NAME" or "\\_SB.PCI0"; segments have 1 to 4 characters. */
void aml_scope(struct aml *a, const char *name);
void aml_device(struct aml *a, const char *name);
void aml_method(struct aml *a, const char *name, unsigned n_args);
void aml_if(struct aml *a); /* the condition follows, then what it guards */
void aml_package(struct aml *a, uint8_t n_elements);
void aml_template(struct aml *a); /* resources follow */
void aml_end(struct aml *a);

void aml_name(struct aml *a, const char *name); /* Name (name, the value that follows) */
void aml_return(struct aml *a);                 /* the value follows */
void aml_int(struct aml *a, uint64_t value);
void aml_string(struct aml *a, const char *text);
void aml_eisa_id(struct aml *a, const char *id); /* "PNP0501" */
void aml_path(struct aml *a, const char *name);

/* Name (name, value) in one. */
void aml_name_int(struct aml *a, const char *name, uint64_t value);
void aml_name_string(struct aml *a, const char *name, const char *text);
void aml_name_eisa_id(struct aml *a, const char *name, const char *id);

/* Resources (6.4). What a device uses: */
void aml_io(struct aml *a, uint16_t port, uint8_t n);
void aml_irq(struct aml *a, unsigned irq); /* ISA: edge, active high */
void aml_gsi(struct aml *a, uint32_t gsi, bool edge);
void aml_memory32(struct aml *a, uint32_t at, uint32_t size);
/* What a bridge passes on: */
void aml_window_bus(struct aml *a, uint16_t first, uint16_t n);
void aml_window_io(struct aml *a, uint32_t at, uint32_t size);
void aml_window_memory(struct aml *a, uint64_t at, uint64_t size);
