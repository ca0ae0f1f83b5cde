/* C functions that translated x86-64 code calls, by subject; no include guard. From here come the prototypes
 * and the `x86_helper_NAME` objects (tr.h), and the list for the IR parser (helpers.c).
 *
 * X86_HELPER(name, result, parameters, n, flags): x86h_name; n counts uint64_t parameters besides the CPU.
 * Helpers with IR_CALL_PURE take no CPU. */
#include "target/x86_64/helpers_int.h"
#include "target/x86_64/helpers_sse.h"
#include "target/x86_64/helpers_sys.h"
#include "target/x86_64/helpers_x87.h"
