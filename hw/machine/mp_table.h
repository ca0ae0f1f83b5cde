/* Intel MultiProcessor Specification 1.4: how guests without ACPI learn of CPUs, the I/O APIC and which
 * interrupt is on which pin. */
#pragma once

#include <stdint.h>

struct vm;

/* Floating pointer and tables for memory at `at`, with one ISA bus. Returns the number of bytes; the caller
 * frees *out. The vCPUs exist. */
uint32_t mp_table_make(const struct vm *vm, uint32_t at, uint8_t **out);
