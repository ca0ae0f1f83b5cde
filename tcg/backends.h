/* The back ends that a build may have. */
#pragma once

#include "tcg/tcg.h"

extern const struct backend backend_host;   /* tcg/host/<isa>/ */
extern const struct backend backend_interp; /* tcg/interp/ */
