/* Runs a fuzz target without libFuzzer: over the files it is given (to reproduce a finding), and over
 * -runs=N pseudo-random inputs from -seed=N on. Other options are ignored. */
#include "tape.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_INPUT = 4096 };

static void run_file(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size_t n = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    LLVMFuzzerTestOneInput(bytes, n);
}

/* A file, or all files of a folder. */
static void run_path(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        run_file(path);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        char inside[4096];
        snprintf(inside, sizeof(inside), "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.')
            run_file(inside);
    }
    closedir(dir);
}

/* xorshift64*: any seed but 0. */
static uint64_t next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

static void run_random(unsigned long runs, uint64_t seed)
{
    static uint8_t bytes[LONGEST_INPUT];
    for (unsigned long i = 0; i < runs; i++) {
        uint64_t state = (seed + i) * 0x9e3779b97f4a7c15ull | 1;
        size_t n = next(&state) % LONGEST_INPUT;
        for (size_t at = 0; at < n; at++) {
            /* Small numbers are more telling than large ones. */
            uint8_t byte = next(&state) >> 56;
            bytes[at] = next(&state) >> 63 ? byte : byte % 8;
        }
        LLVMFuzzerTestOneInput(bytes, n);
    }
}

int main(int argc, char **argv)
{
    unsigned long runs = 0;
    uint64_t seed = 1;
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "-runs=", 6))
            runs = strtoul(argv[i] + 6, NULL, 0);
        else if (!strncmp(argv[i], "-seed=", 6))
            seed = strtoull(argv[i] + 6, NULL, 0);
        else if (argv[i][0] != '-')
            run_path(argv[i]);
    }
    run_random(runs, seed);
    return 0;
}
