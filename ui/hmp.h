/* Commands of the human monitor: tables of a name, help and a handler. A handler does its work by the functions
 * that QMP's handlers call, too, and says what came of it line by line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct monitor_hooks;
struct vcpu;
struct vm;

struct hmp_call {
    struct vm *vm;
    const struct monitor_hooks *hooks;
    const char *args; /* what is left of the line behind the command's name; hmp_word takes from it */
    void (*print)(void *opaque, const char *line);
    void *to;
    unsigned *cpu; /* the monitor's vCPU (cpu N), for what looks through one's eyes */
};

/* What TAB offers for an argument. */
enum hmp_complete {
    HMP_NOTHING,
    HMP_COMMANDS,
    HMP_INFOS,
    HMP_DEVICES, /* ids */
    HMP_DRIVERS, /* device classes */
    HMP_DRIVES,
    HMP_NETDEVS,
    HMP_CHARDEVS,
    HMP_OBJECTS,
};

struct hmp_command {
    const char *name, *alias;
    const char *args; /* for help: "ID [SIZE]"; "": takes none */
    const char *help;
    void (*run)(struct hmp_call *c);
    enum hmp_complete complete;
};

/* A subject: one file. `infos` are what "info NAME" shows. */
struct hmp_list {
    const struct hmp_command *at;
    size_t n;
};
struct hmp_table {
    struct hmp_list commands, infos;
};
/* ui/hmp_tables.c: every subject. A new one is a line there. */
extern const struct hmp_table *const hmp_tables[];
extern const size_t n_hmp_tables;

/* ---- for handlers ---------------------------------------------------------------------------- */
void hmp_say(struct hmp_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Says it and frees it; false if there was one. */
bool hmp_ok(struct hmp_call *c, struct error *err);
/* Takes the next word off the arguments, in quotes if it has blanks; says what `what` is missing. */
bool hmp_word(struct hmp_call *c, const char *what, char *buf, size_t n);
/* As hmp_word, but its absence is no mistake. */
bool hmp_optional_word(struct hmp_call *c, char *buf, size_t n);
/* A number, or an expression of numbers, registers ($pc) and + - * / & | ^ ( ), up to the next blank. */
bool hmp_number(struct hmp_call *c, const char *what, uint64_t *value);
/* The monitor's vCPU; says so if the machine has none. */
struct vcpu *hmp_cpu(struct hmp_call *c);
/* All vCPUs stand, their registers in arch, until hmp_let_go(pause). */
bool hmp_hold(struct hmp_call *c);
void hmp_let_go(struct hmp_call *c, bool was_running);

/* ---- for the line editor ----------------------------------------------------------------------- */
void hmp_execute(struct hmp_call *c, const char *line);
/* Offers every completion of the last word of `line`; gives where that word begins. */
size_t hmp_completions(struct vm *vm, const char *line,
                       void (*offer)(void *opaque, const char *word), void *opaque);
