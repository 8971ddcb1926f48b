/*
 * onus-sim: runs simulations from seeds (docs/testing.md). Each seed runs in a child of its own, so
 * that one that fails takes no other with it; what it has to tell stands in memory that both
 * share, and its standard error in a file that is shown when it fails.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/problem.h"
#include "base/sign.h"
#include "tests/sim/sim_accountability.h"

#define SEED_SECONDS_MAX 600u
#define JOBS_MAX 64u
#define WORDS_SHOWN 8192

struct program {
    struct sim_options options; /* but for the seed */
    uint64_t first_seed;
    uint64_t seeds;
    uint32_t jobs;
    bool accountability;
    bool ends;
    bool trace;
    bool hash;
    bool quiet;
};

/* A seed that runs, and the child that runs it. */
struct job {
    pid_t child; /* 0: none */
    uint64_t seed;
    FILE *words;
    struct sim_result *result; /* shared */
};

struct summary {
    uint64_t seeds;
    uint64_t failed;
    uint64_t real;
    uint64_t with_liars;
    struct sim_result sum;
    struct account_table accounts;
};

/* ---- arguments ---- */

static void print_usage(FILE *out) {
    (void)fputs(
        "usage: onus-sim [--seed S] [--seeds N] [--replicas N] [--byzantine K]\n"
        "                [--reforms | --ends | --accountability] [--real-signatures] [--jobs J]\n"
        "                [--trace] [--hash]\n\n"
        "Runs N simulated clusters under faults drawn from the seeds from S on, judges them, and\n"
        "prints a summary. Without --seed it takes the time. The same seed and options give the\n"
        "same run.\n\n"
        "  --replicas N       4 to 13; default: drawn\n"
        "  --byzantine K      how many of them lie, at most a third; default: drawn\n"
        "  --reforms          members change the configuration all the time\n"
        "  --ends             each run is about the end of one configuration, and about who hears\n"
        "                     of it\n"
        "  --accountability   more than a third lie, of 4 to 7 replicas: whatever they do, the\n"
        "                     auditor must convict enough of them, and nobody else\n"
        "  --real-signatures  Ed25519 in every run; default: one run in twenty\n"
        "  --jobs J           seeds at a time; default 1\n"
        "  --trace            print every event to standard error\n"
        "  --hash             print the hash of each run's trace\n\n"
        "exit codes: 0 all invariants held; 1 some did not; 2 usage\n",
        out);
}

static bool number_of(const char *text, uint64_t most, uint64_t *number) {
    char *end = NULL;
    *number = strtoull(text, &end, 10);
    return *text != '\0' && *text != '-' && *end == '\0' && *number <= most;
}

static bool take_option(struct program *program, int option, const char *argument) {
    uint64_t number = 0;
    switch (option) {
    case 's':
        return number_of(argument, UINT64_MAX - 1, &program->first_seed);
    case 'n':
        return number_of(argument, UINT32_MAX, &program->seeds) && program->seeds > 0;
    case 'r':
        if (!number_of(argument, 13, &number) || number < REPLICAS_MIN) {
            return false;
        }
        program->options.replicas = (uint32_t)number;
        return true;
    case 'b':
        if (!number_of(argument, ACCOUNT_REPLICAS_MAX, &number)) {
            return false;
        }
        program->options.byzantine = (uint32_t)number;
        return true;
    case 'j':
        if (!number_of(argument, JOBS_MAX, &number) || number == 0) {
            return false;
        }
        program->jobs = (uint32_t)number;
        return true;
    case 'e':
        program->options.real_signatures = true;
        return true;
    case 'g':
        program->options.reforms = true;
        return true;
    case 'd':
        program->ends = true;
        return true;
    case 'a':
        program->accountability = true;
        return true;
    case 't':
        program->trace = true;
        return true;
    case 'h':
        program->hash = true;
        return true;
    default: /* what getopt has complained about */
        return false;
    }
}

static bool fits_together(const struct program *program) {
    uint32_t const replicas = program->options.replicas;
    uint32_t const byzantine = program->options.byzantine;
    if (program->options.reforms + program->ends + program->accountability > 1) {
        return false;
    }
    if (program->options.reforms || program->ends) {
        return replicas <= 10 &&
               (byzantine == SIM_DRAWN || byzantine == 0 ||
                (replicas != 0 && byzantine <= configuration_faults_max(replicas)));
    }
    if (program->accountability) {
        return replicas <= ACCOUNT_REPLICAS_MAX &&
               (byzantine == SIM_DRAWN || (byzantine != 0 && byzantine <= replicas));
    }
    return byzantine == SIM_DRAWN || byzantine == 0 ||
           (replicas != 0 && byzantine <= configuration_faults_max(replicas));
}

static bool read_arguments(struct program *program, int argc, char **argv) {
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},     {"seeds", required_argument, NULL, 'n'},
        {"replicas", required_argument, NULL, 'r'}, {"byzantine", required_argument, NULL, 'b'},
        {"jobs", required_argument, NULL, 'j'},     {"real-signatures", no_argument, NULL, 'e'},
        {"accountability", no_argument, NULL, 'a'}, {"ends", no_argument, NULL, 'd'},
        {"trace", no_argument, NULL, 't'},          {"hash", no_argument, NULL, 'h'},
        {"reforms", no_argument, NULL, 'g'},        {NULL, 0, NULL, 0},
    };
    int option = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (!take_option(program, option, optarg)) {
            return false;
        }
    }
    if (!fits_together(program)) {
        (void)fputs(
            "onus-sim: --byzantine: at most a third of --replicas, which must be given; with "
            "--accountability 1 to all of at most 7\n",
            stderr);
        return false;
    }
    return optind == argc;
}

/* ---- one seed ---- */

static _Noreturn void run_child(const struct program *program, const struct job *job) {
    struct sim_options options = program->options;
    options.seed = job->seed;
    if (!program->trace && dup2(fileno(job->words), STDERR_FILENO) < 0) {
        _exit(EXIT_ERROR);
    }
    if (program->trace && setenv("ONUS_TRACE", "1", 1) != 0) {
        _exit(EXIT_ERROR);
    }
    (void)alarm(SEED_SECONDS_MAX);
    (program->accountability ? accountability_run
     : program->ends         ? ends_run
                             : simulation_run)(job->result, &options);
    exit(EXIT_OK); /* not _exit: a sanitizer looks for leaks */
}

static bool begin(const struct program *program, struct job *job, uint64_t seed) {
    *job->result = (struct sim_result){.finished = false};
    job->seed = seed;
    job->words = tmpfile();
    if (job->words == NULL) {
        perror("onus-sim: tmpfile");
        return false;
    }
    (void)fflush(stdout); /* or the child would say it again */
    job->child = fork();
    if (job->child == 0) {
        run_child(program, job);
    }
    if (job->child < 0) {
        perror("onus-sim: fork");
        job->child = 0;
    }
    return job->child > 0;
}

/* The last of what a child wrote to standard error. */
static void read_words(const struct job *job, char words[static WORDS_SHOWN]) {
    long const size = fseek(job->words, 0, SEEK_END) == 0 ? ftell(job->words) : 0;
    long const from = size >= WORDS_SHOWN ? size - WORDS_SHOWN + 1 : 0;
    size_t read = 0;
    if (size > 0 && fseek(job->words, from, SEEK_SET) == 0) {
        read = fread(words, 1, WORDS_SHOWN - 1, job->words);
    }
    words[read] = '\0';
}

/* An assertion, or a sanitizer, says what it is about by itself. */
static bool print_complaint(const char *words) {
    static const char *const known[] = {"invariant broken", "runtime error", "ERROR: "};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *const found = strstr(words, known[i]);
        if (found != NULL) {
            (void)printf("  reason: %.*s\n", (int)strcspn(found, "\n"), found);
            return true;
        }
    }
    return false;
}

static void print_replay(const struct program *program, uint64_t seed) {
    (void)printf("  replay: ./dev sim --seed %llu", (unsigned long long)seed);
    if (program->options.replicas != 0) {
        (void)printf(" --replicas %u", program->options.replicas);
    }
    if (program->options.byzantine != SIM_DRAWN) {
        (void)printf(" --byzantine %u", program->options.byzantine);
    }
    (void)printf("%s%s%s%s --trace\n", program->accountability ? " --accountability" : "",
                 program->options.reforms ? " --reforms" : "", program->ends ? " --ends" : "",
                 program->options.real_signatures ? " --real-signatures" : "");
}

static void report_failure(const struct program *program, const struct job *job, int status) {
    const char *const reason = job->result->reason;
    char words[WORDS_SHOWN];
    read_words(job, words);
    (void)printf("seed %llu FAILED\n  options: %s\n", (unsigned long long)job->seed,
                 job->result->drawn);
    if (reason[0] != '\0') {
        (void)printf("  reason: %s\n", reason);
    } else if (print_complaint(words)) {
        /* it has been said */
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        (void)printf("  reason: no end after %u s\n", SEED_SECONDS_MAX);
    } else if (WIFSIGNALED(status)) {
        (void)printf("  reason: signal %d\n", WTERMSIG(status));
    } else {
        (void)printf("  reason: exit %d\n", WEXITSTATUS(status));
    }
    print_replay(program, job->seed);
    (void)fputs(words, stdout);
    (void)fflush(stdout);
}

/* ---- many ---- */

static void add_up(struct summary *summary, const struct sim_result *result) {
    struct sim_result *const sum = &summary->sum;
    summary->seeds++;
    summary->failed += !result->finished;
    summary->real += result->real_signatures;
    summary->with_liars += result->byzantine > 0;
    sum->events += result->events;
    sum->batches += result->batches;
    sum->requests += result->requests;
    sum->views += result->views;
    sum->recoveries += result->recoveries;
    sum->reforms += result->reforms;
    sum->judgements += result->judgements;
    sum->receipts += result->receipts;
    sum->simulated_ms += result->simulated_ms;
    for (uint32_t i = 0; i < FAULT_COUNT; i++) {
        sum->faults[i] += result->faults[i];
    }
}

static void finish(const struct program *program, struct job *job, int status,
                   struct summary *summary) {
    bool const good = job->result->finished && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK;
    job->result->finished = good;
    add_up(summary, job->result);
    account_add(&summary->accounts, job->result);
    if (!good) {
        report_failure(program, job, status);
    } else if (program->hash) {
        char hex[2 * DIGEST_SIZE + 1];
        hex_encode(hex, span_of(job->result->trace_hash.bytes, DIGEST_SIZE));
        (void)printf("seed %llu %s\n", (unsigned long long)job->seed, hex);
    }
    (void)fclose(job->words);
    job->child = 0;
}

static void print_summary(const struct summary *summary, double seconds) {
    const struct sim_result *const sum = &summary->sum;
    (void)printf("%llu seeds, %llu failed (%llu with liars, %llu with real signatures); %llu "
                 "events, %llu batches, %llu requests, %llu receipts, %llu changes of view, %llu "
                 "recoveries, %llu reforms; faults:",
                 (unsigned long long)summary->seeds, (unsigned long long)summary->failed,
                 (unsigned long long)summary->with_liars, (unsigned long long)summary->real,
                 (unsigned long long)sum->events, (unsigned long long)sum->batches,
                 (unsigned long long)sum->requests, (unsigned long long)sum->receipts,
                 (unsigned long long)sum->views, (unsigned long long)sum->recoveries,
                 (unsigned long long)sum->reforms);
    for (uint32_t i = 0; i < FAULT_COUNT; i++) {
        (void)printf("%s %llu %s", i == 0 ? "" : ",", (unsigned long long)sum->faults[i],
                     fault_name((enum fault)i));
    }
    (void)printf("; %llu invariants checked; %llu h simulated; %.0f seeds/hour\n",
                 (unsigned long long)sum->judgements,
                 (unsigned long long)(sum->simulated_ms / 3600000),
                 seconds > 0 ? (double)summary->seeds * 3600 / seconds : 0.0);
}

static struct job *job_of(struct job *jobs, uint32_t count, pid_t child) {
    for (uint32_t i = 0; i < count; i++) {
        if (jobs[i].child == child) {
            return &jobs[i];
        }
    }
    return NULL;
}

/* Returns: false when children cannot be made. */
static bool run_all(const struct program *program, struct job *jobs, struct summary *summary) {
    uint64_t next = 0;
    uint64_t done = 0;
    while (done < program->seeds) {
        struct job *idle = job_of(jobs, program->jobs, 0);
        while (idle != NULL && next < program->seeds) {
            if (!begin(program, idle, program->first_seed + next)) {
                return false;
            }
            next++;
            idle = job_of(jobs, program->jobs, 0);
        }
        int status = 0;
        pid_t const child = waitpid(-1, &status, 0);
        struct job *const job = child > 0 ? job_of(jobs, program->jobs, child) : NULL;
        if (job == NULL) {
            return false;
        }
        finish(program, job, status, summary);
        done++;
    }
    return true;
}

static double now_seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    struct program program = {.options = {.byzantine = SIM_DRAWN}, .seeds = 1, .jobs = 1};
    static struct summary summary;
    struct job jobs[JOBS_MAX] = {{.child = 0}};
    program.first_seed = (uint64_t)time(NULL) * 1000;
    if (!read_arguments(&program, argc, argv)) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (!sign_init()) {
        (void)fputs("onus-sim: this build of libsodium must not be used\n", stderr);
        return EXIT_ERROR;
    }
    size_t const size = program.jobs * sizeof(struct sim_result);
    struct sim_result *const results =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (results == MAP_FAILED) {
        perror("onus-sim: mmap");
        return EXIT_ERROR;
    }
    for (uint32_t i = 0; i < program.jobs; i++) {
        jobs[i].result = &results[i];
    }
    (void)printf("seeds %llu..%llu\n", (unsigned long long)program.first_seed,
                 (unsigned long long)(program.first_seed + program.seeds - 1));
    (void)fflush(stdout);
    double const began = now_seconds();
    bool const ran = run_all(&program, jobs, &summary);
    if (program.accountability) {
        account_print(&summary.accounts);
    }
    print_summary(&summary, now_seconds() - began);
    (void)munmap(results, size);
    return ran && summary.failed == 0 ? EXIT_OK : EXIT_ERROR;
}
