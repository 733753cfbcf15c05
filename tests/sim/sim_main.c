/* Runs seeds, each in a process of its own: what a fault does to memory is a result too.
 *
 *   sim_raft [--first SEED] [--seeds COUNT] [options]   COUNT seeds from SEED on; all must be well
 *   sim_raft --find COUNT [options]                     at least one of COUNT seeds must not be
 * well
 *
 *   --rules MASK       safety rules that are on (rules_private.h)
 *   --voters N --groups N --voters-min N --reorder 0|1 --members 0|1 --disk-errors 0|1
 *                      instead of what the seed chooses
 *   --verbose
 *
 * A seed that fails is printed; --first SEED --seeds 1 --verbose with the same options replays it.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED_SECONDS_MAX 120
#define CRASHED 255
/* Exit codes of a seed's process are this and the bits: a sanitizer's are others. */
#define EXIT_BASE 64

struct arguments {
    uint64_t first, count, find;
    long rules, voters, groups, voters_min, reorder, members, disk_errors; /* -1: the seed's. */
    bool verbose;
};

static void options_make(const struct arguments *arguments, uint64_t seed, struct sim_options *out)
{
    sim_options_of_seed(seed, out);
    if (arguments->rules >= 0)
        out->rules = (unsigned)arguments->rules;
    if (arguments->voters >= 0)
        out->voters = (uint32_t)arguments->voters;
    if (arguments->groups >= 0)
        out->groups = (uint32_t)arguments->groups;
    if (arguments->voters_min >= 0)
        out->voters_min = (uint32_t)arguments->voters_min;
    if (arguments->reorder >= 0)
        out->reorder = arguments->reorder != 0;
    if (arguments->members >= 0)
        out->members = arguments->members != 0;
    if (arguments->disk_errors >= 0)
        out->disk_errors = arguments->disk_errors != 0;
    out->verbose = arguments->verbose;
}

/* SIM_ bits, or CRASHED. */
static unsigned run_apart(const struct arguments *arguments, uint64_t seed)
{
    struct sim_options options;
    int status;
    pid_t child;

    options_make(arguments, seed, &options);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        alarm(SEED_SECONDS_MAX);
        _exit(EXIT_BASE + (int)sim_run(seed, &options));
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        fprintf(stderr, "sim_raft: cannot run a seed\n");
        exit(2);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) >= EXIT_BASE &&
        WEXITSTATUS(status) < EXIT_BASE + 16)
        return (unsigned)WEXITSTATUS(status) - EXIT_BASE;
    printf("seed %llu: ended by %s %d\n", (unsigned long long)seed,
           WIFEXITED(status) ? "status" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return CRASHED;
}

static bool argument_take(struct arguments *arguments, const char *name, const char *value)
{
    const struct {
        const char *name;
        long *out;
    } numbers[] = {
        {"--rules", &arguments->rules},
        {"--voters", &arguments->voters},
        {"--groups", &arguments->groups},
        {"--voters-min", &arguments->voters_min},
        {"--reorder", &arguments->reorder},
        {"--members", &arguments->members},
        {"--disk-errors", &arguments->disk_errors},
    };
    char *end;
    long number = strtol(value, &end, 0);

    if (*value == '\0' || *end != '\0' || number < 0)
        return false;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].out = number;
            return true;
        }
    }
    if (strcmp(name, "--first") == 0)
        arguments->first = (uint64_t)number;
    else if (strcmp(name, "--seeds") == 0)
        arguments->count = (uint64_t)number;
    else if (strcmp(name, "--find") == 0)
        arguments->find = (uint64_t)number;
    else
        return false;
    return true;
}

static bool limits_hold(const struct arguments *arguments)
{
    return (arguments->voters < 0 ||
            (arguments->voters >= 1 && arguments->voters <= SIM_NODES_MAX)) &&
           (arguments->groups < 0 ||
            (arguments->groups >= 1 && arguments->groups <= SIM_GROUPS_MAX));
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.first = 1,
                                  .count = 100,
                                  .rules = -1,
                                  .voters = -1,
                                  .groups = -1,
                                  .voters_min = -1,
                                  .reorder = -1,
                                  .members = -1,
                                  .disk_errors = -1};
    uint64_t unwell = 0, count;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            arguments.verbose = true;
        } else if (i + 1 == argc || !argument_take(&arguments, argv[i], argv[i + 1])) {
            fprintf(stderr, "sim_raft: bad argument %s\n", argv[i]);
            return 2;
        } else {
            i++;
        }
    }
    if (!limits_hold(&arguments)) {
        fprintf(stderr, "sim_raft: too many nodes or groups, or none\n");
        return 2;
    }
    count = arguments.find > 0 ? arguments.find : arguments.count;
    printf("sim_raft: seeds %llu to %llu\n", (unsigned long long)arguments.first,
           (unsigned long long)(arguments.first + count - 1));
    for (uint64_t seed = arguments.first; seed < arguments.first + count; seed++) {
        unwell += run_apart(&arguments, seed) != 0;
        if (arguments.find > 0 && unwell > 0)
            break;
    }
    printf("sim_raft: %llu of %llu seeds are not well\n", (unsigned long long)unwell,
           (unsigned long long)count);
    return arguments.find > 0 ? unwell == 0 : unwell > 0;
}
