/*
 * audit_fixture: what the tests of the audit share: one service with a forged ledger, an audit that
 * is given ledgers and receipts, and what must not hold of its proofs.
 */
#ifndef ONUS_TESTS_UNIT_AUDIT_FIXTURE_H
#define ONUS_TESTS_UNIT_AUDIT_FIXTURE_H

#include "audit-tool/audit.h"
#include "tests/forge/story.h"
#include "tests/sim/fake_disk.h"

#define DISKS_MAX 6u

extern struct consortium consortium;
extern struct forge forge;
extern struct story story;
extern struct audit *audit;
extern struct fake_disk *disks[DISKS_MAX];
extern uint32_t disk_count;

void open_audit(uint32_t jobs);
void close_audit(void);
void set_up_with(uint32_t replica_count);
void set_up(void);
void tear_down(void);

struct fake_disk *give_ledger(const struct forge *from);
/* The entries before `end` only. */
struct fake_disk *give_beginning(const struct forge *from, uint64_t end);
/* The receipt of the first call of each request. Returns: how many. */
uint64_t give_receipts(const struct forge *from, uint64_t first_seq, uint64_t last_seq);

/* Audit what was given; it must come to this. */
const struct audit_report *run(enum exit_code expected);

/* The same beginning, told again into another forge. */
struct fork {
    struct forge forge;
    struct story story;
};

void fork_open(struct fork *fork);
void fork_close(struct fork *fork);

/* ---- proofs ---- */

enum proof_check check_bytes(struct span file);
/* However it is changed, cut, or held against another service: it must not hold. flips: 0: all. */
void expect_no_change_holds(const struct buffer *file, uint32_t flips);

/* Somebody takes a true proof apart and puts a false one together: against correct replicas. */
struct forgery {
    struct arena arena;
    struct proof proof;
    struct buffer file;
};

void forgery_open(struct forgery *forgery, const struct buffer *file);
enum proof_check forgery_check(struct forgery *forgery);
void forgery_close(struct forgery *forgery);

#endif
