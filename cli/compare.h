/* The command `tandem compare`: one guest under two engines, side by side. docs/compare.md */
#pragma once

struct error;

/* argv[1] is "compare". Prints the comparison on standard output. */
struct error *compare_run(int argc, char **argv);
