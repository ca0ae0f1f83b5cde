/* A PC without an engine: RAM from address 0 and one x86-64 vCPU after power-on. */
#pragma once

#include "core/vm.h"
#include "target/x86_64/x86.h"

struct vm *x86_board_new(uint64_t ram);
