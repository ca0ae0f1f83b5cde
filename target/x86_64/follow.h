/* Lock-step's view of the CPU: see struct target. */
#pragma once

#include "target/x86_64/x86.h"

struct error;

struct error *x86_follow(struct vcpu *real, struct vcpu *shadow);
uint64_t x86_inputs(const struct vcpu *cpu);
void x86_set_inputs(struct vcpu *cpu, uint64_t inputs);
